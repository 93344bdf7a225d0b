"""A held merge that a person has to approve: what master_sync hands to ``<partner>__approve_merge``, and back.

As with a push (``approvals``) a question is a run of its own, and a yes counts only in a run that a task has started.
The question's run is named after the merge that was held first for the same cause: what is held again each quarter of
an hour asks once.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk.definitions.context import Context

from partner_sync.partners.fields import Entity
from partner_sync_airflow.approvals import QUESTION, YES, from_a_task
from partner_sync_airflow.dag_runs import bounded_id

_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class MergeQuestion:
    """What a person is asked, as ``subject`` and ``body``. ``form`` is that of the sync which a yes starts.

    ``changed``, ``removed``, ``visits``: the figures of the merge that was held. ``organizations``: the one it is of.
    """

    form: dict[str, Any]
    organizations: list[str]
    entity: Entity
    changed: int
    removed: int
    visits: int
    subject: str
    body: str


@dataclass(frozen=True, kw_only=True)
class MergeYes:
    """A person's yes: up to so many rows may come or change, go, and go although they have visits; ``by`` whom."""

    changed: int
    removed: int
    visits: int
    by: str


def merge_question_of(context: Context) -> MergeQuestion:
    """The question that a run of ``<partner>__approve_merge`` asks. Raises ApprovalByHandError for any other run."""
    return MergeQuestion(**from_a_task(context, QUESTION, starts=sync_dag))


def merge_yes_of(context: Context) -> MergeYes | None:
    """The yes under which a run merges; None without one. Raises ApprovalByHandError."""
    given = YES in (context["dag_run"].conf or {})
    return MergeYes(**from_a_task(context, YES, starts=sync_dag)) if given else None


def approve_merge_dag(partner: str) -> str:
    return f"{partner}__approve_merge"


def sync_dag(partner: str) -> str:
    return f"{partner}__master_sync"


def merge_question_run_id(*, organization: str, entity: Entity, cause: str) -> str:
    """The run of the question about a cause; ``cause`` is a run key, which holds what a run id may not."""
    digest = hashlib.sha256(cause.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return bounded_id(f"ask__{organization}__{entity}__{digest}")


def approved_sync_run_id(context: Context) -> str:
    """The sync that a yes to this run's question starts: one for each time that the question is asked."""
    clears = context["dag_run"].clear_number or 0
    return bounded_id(f"approved__{context['run_id'].removeprefix('ask__')}" + (f"__{clears}" if clears else ""))


def conf_of(key: str, value: MergeQuestion | MergeYes) -> dict[str, Any]:
    return {key: asdict(value)}
