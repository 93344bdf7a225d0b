"""A push that a person has to approve: what one run hands to another, and under which names.

The question is a run of its own, ``<partner>__approve_push``: a run that waits for an answer stays running, and the
next pushes must not wait behind it. It is started, and after a yes starts the push again, as one task starts another
DAG; such runs are of the type operator_triggered, which no form and no call of Airflow's API can make. Only there a yes
counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import DagRunTriggerException

from partner_sync.errors import ConfigError
from partner_sync_airflow.dag_runs import bounded_id, run_type

#: Where the conf of a run carries the question, or the yes.
QUESTION, YES = "question", "approval"
_OF_A_TASK = "operator_triggered"


class ApprovalByHandError(ConfigError):
    """Somebody wrote an approval, or a question, into a run that they started."""

    code = "approval_by_hand"
    template = "Questions and approvals are no input. Start {dag_id} without one, and answer when it asks."


class DagPausedError(ConfigError):
    """A DAG that this one has to start is switched off, so its run would wait without a word."""

    code = "dag_paused"
    template = "The DAG {dag_id} is switched off. Switch it on, then run this task again."


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked, as ``subject`` and ``body``. ``form`` is the push's form with its week made explicit.

    ``weekly``: a schedule or a backfill started the push, for the links with the release mode weekly. ``asked_by``: DAG
    id and run id of the run that asks.
    """

    form: dict[str, Any]
    calls: int
    organizations: list[str]
    requested_by: str
    weekly: bool
    subject: str
    body: str
    asked_by: list[str]


@dataclass(frozen=True, kw_only=True)
class Yes:
    """A person's yes to a question: ``calls`` that may leave, ``by`` whom; the rest as in the question."""

    calls: int
    by: str
    requested_by: str
    weekly: bool


def question_of(context: Context) -> Question:
    """The question that a run of ``<partner>__approve_push`` asks. Raises ApprovalByHandError for any other run."""
    return Question(**from_a_task(context, QUESTION, starts=push_dag))


def yes_of(context: Context) -> Yes | None:
    """The yes under which a run pushes; None without one. Raises ApprovalByHandError."""
    return Yes(**from_a_task(context, YES, starts=push_dag)) if YES in (context["dag_run"].conf or {}) else None


def from_a_task(context: Context, key: str, *, starts: Callable[[str], str]) -> Any:
    """What a task has put into the conf of the run that it started; ``starts`` names the partner's DAG that a person
    may start. Raises ApprovalByHandError when a person wrote it.
    """
    run = context["dag_run"]
    if run_type(run) != _OF_A_TASK:
        raise ApprovalByHandError(dag_id=starts(context["dag"].dag_id.partition("__")[0]))
    return (run.conf or {})[key]


def approve_dag(partner: str) -> str:
    return f"{partner}__approve_push"


def push_dag(partner: str) -> str:
    return f"{partner}__schedule_push"


def start_run(context: Context, *, dag_id: str, run_id: str, conf: dict[str, Any]) -> DagRunTriggerException:
    """What a task raises to start a run of another DAG; one that is there already is not started twice.

    Raises DagPausedError.
    """
    if context["ti"].get_dag(dag_id).is_paused:
        raise DagPausedError(dag_id=dag_id)
    return DagRunTriggerException(
        trigger_dag_id=dag_id,
        dag_run_id=run_id,
        conf=conf,
        reset_dag_run=False,
        skip_when_already_exists=True,
        wait_for_completion=False,
        allowed_states=[],
        failed_states=[],
        poke_interval=0,
        deferrable=False,
    )


def question_run_id(context: Context) -> str:
    """The run of the question that this run asks: a retry asks no second one, a cleared run does."""
    clears = context["dag_run"].clear_number or 0
    return bounded_id(f"ask__{context['run_id']}" + (f"__{clears}" if clears else ""))


def approved_run_id(context: Context) -> str:
    """The push that a yes to this run's question starts: one, however often the yes is given."""
    return bounded_id(f"approved__{context['run_id'].removeprefix('ask__')}")


def as_conf(key: str, value: Question | Yes) -> dict[str, Any]:
    return {key: asdict(value)}
