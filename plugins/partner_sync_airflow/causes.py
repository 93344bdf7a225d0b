"""Why a run is red, as errors that carry their causes to the notifier, and whom it still has to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from airflow.sdk.definitions.context import Context

from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError, PartnerSyncError

if TYPE_CHECKING:
    from partner_sync.database import Connection
    from partner_sync.incidents import Cause, Stage

#: The addresses under which alerts are counted as told, and of whom each asks only what another one knows.
_TOLD_TO: Mapping[Stage, str] = {"met": "alerts", "lasting": "lead", "over": "over"}
_TOLD_AFTER: Mapping[Stage, str] = {"over": "alerts"}


class OrganizationsStoppedError(PartnerSyncError):
    """Organizations stopped; ``causes`` are their causes, new and known."""

    code = "organizations_stopped"
    template = (
        "{partner}: {count} organizations stopped: {organizations}. The run's note says why and whose turn it is."
    )
    causes: tuple[Cause, ...]


class StepsFailedError(PartnerSyncError):
    """A step before this one failed, and has said why: the run is red, and nobody is told twice."""

    code = "steps_failed"
    template = "{partner}: {steps} failed; its own log and alert say why."


def untold_causes(context: Context, *, partner: str) -> Iterator[tuple[Cause, Stage]]:
    """The causes of a failed task that nobody has been told of, or the lead has not; from now on they count as told.

    When the database is away nothing can be looked up: rather twice than never.
    """
    error = context.get("exception")
    if isinstance(error, StepsFailedError):
        return
    try:
        yield from _untold_of(context, error, partner=partner)
    except (DatabaseAwayError, DatabaseRefusedError):
        yield from ((cause, "met") for cause in _causes_without_incident(context, error, partner=partner))


def untold(causes: Iterable[Cause], *, stage: Stage) -> list[Cause]:
    """Those of the causes of which this has not been told; from now on it counts as told.

    What nobody was told of is never told to be over. None when the database is away: of what is still open a later run
    tells.
    """
    from partner_sync_airflow.hooks.database import SyncDatabaseHook

    try:
        with SyncDatabaseHook("run").get_conn() as conn:
            return _claimed(conn, causes, stage=stage)
    except (DatabaseAwayError, DatabaseRefusedError):
        return []


def _untold_of(context: Context, error: object, *, partner: str) -> list[tuple[Cause, Stage]]:
    from partner_sync_airflow.hooks.database import SyncDatabaseHook

    if _is_about_a_form(error):
        return [(cause, "met") for cause in _causes_without_incident(context, error, partner=partner)]
    with SyncDatabaseHook("run").get_conn() as conn:
        stages = _opened(conn, context, error=error, partner=partner)
        return [(cause, stage) for stage in stages for cause in _claimed(conn, stages[stage], stage=stage)]


def _claimed(conn: Connection, causes: Iterable[Cause], *, stage: Stage) -> list[Cause]:
    from partner_sync.incidents import claim_notice

    claimed = [claim_notice(conn, cause, to=_TOLD_TO[stage], after=_TOLD_AFTER.get(stage)) for cause in causes]
    return [cause for cause in claimed if cause is not None]


def _opened(conn: Connection, context: Context, *, error: object, partner: str) -> dict[Stage, tuple[Cause, ...]]:
    """Of a task that failed as a whole its cause, and whether it lasts; of a conclusion what it has opened itself."""
    from partner_sync.incidents import causes_of, open_incident
    from partner_sync_airflow.operators.base import run_key

    if isinstance(error, OrganizationsStoppedError):
        return {"met": error.causes}
    step, code = context["ti"].task_id, code_of(error)
    met = open_incident(conn, partner=partner, organization="", step=step, code=code, run_key=run_key(context))
    return {"met": causes_of([met]), "lasting": causes_of([met] if met.must_escalate else [])}


def _causes_without_incident(context: Context, error: object, *, partner: str) -> list[Cause]:
    from partner_sync.incidents import Cause

    if isinstance(error, OrganizationsStoppedError):
        return list(error.causes)
    step = context["ti"].task_id
    return [Cause(partner=partner, step=step, code=code_of(error), organizations=("",), incident_ids=())]


def _is_about_a_form(error: object) -> bool:
    """A form filled in wrongly is a cause of its own each time: the next person must be told as well."""
    from partner_sync.catalogue import entry

    found = entry(code_of(error))
    return not isinstance(error, OrganizationsStoppedError) and found.owner == "user" and found.retry == "none"


def code_of(error: object) -> str:
    """The catalogue's code of an error; what is not ours is unexpected."""
    return error.code if isinstance(error, PartnerSyncError) else "unexpected"
