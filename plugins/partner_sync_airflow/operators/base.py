"""What every operator of ours does: errors that are safe to log, a run key, waiting without a worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from partner_sync.partners.model import Partner
from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.dag_runs import bounded_id
from partner_sync_airflow.partner_files import partner_named
from partner_sync_airflow.run_notes import write_note
from partner_sync_airflow.which_week import head_of_note

if TYPE_CHECKING:
    from partner_sync.steps.organizations import Doors, Patience, Waiting
    from partner_sync.steps.outcomes import RunName

#: How long after its start a run stops waiting for limits and lost answers, and says so.
LONGEST_WAIT = timedelta(hours=12)
#: A trigger that fires before its task has ended meets a race in Airflow, which then kills the resumed task.
SHORTEST_DEFERRAL = timedelta(seconds=5)
#: A resumed task needs this long to begin; what is left of its wait it sleeps through in place.
BEGINS_WITHIN = timedelta(seconds=2.5)
_SHOWN_ORGANIZATIONS = 20


class PartnerSyncOperator(BaseOperator):
    """A step for one partner. Subclasses say what to do in ``work``.

    :param partner: the partner's slug; its file is read when the task runs.
    """

    ui_color = "#e8f2ee"

    def __init__(self, *, partner: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.partner = partner

    def execute(self, context: Context) -> Any:
        """Do the work; nothing but our own errors and Airflow's leaves (design, rule 15)."""
        with CutChain():
            return self.work(context)

    def work(self, context: Context) -> Any:
        """The step itself; returns our own codes and counts only."""
        raise NotImplementedError

    def partner_file(self) -> Partner:
        """The partner as its file says now; raises PartnerFileError."""
        return partner_named(self.partner)


class WaitingOperator(PartnerSyncOperator):
    """A step over a share of the organizations, which waits in the triggerer instead of in a worker.

    :param shard: organization codes.
    """

    def __init__(self, *, shard: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def work(self, context: Context) -> None:
        self.step(context, list(self.shard))

    def step(self, context: Context, organizations: list[str]) -> None:
        """Do the step for these organizations, or defer for those that have to wait."""
        waiting = self.run_step(context, organizations)
        if waiting is not None:
            self.wait(context, waiting)

    def run_step(self, context: Context, organizations: list[str]) -> Waiting | None:
        """The step in the core."""
        raise NotImplementedError

    def resume(self, context: Context, event: Any = None, *, organizations: list[str]) -> None:
        """Go on with those that had to wait; a resumed task has not used a retry."""
        with CutChain():
            self.step(context, organizations)

    def wait(self, context: Context, waiting: Waiting) -> NoReturn:
        """Give the worker back until the moment that the ledger, or a lost answer's settle time, names.

        The log and the run's note say for what, for whom and until when.
        """
        from partner_sync_airflow.triggers import WaitTrigger

        shortest = datetime.now(UTC) + SHORTEST_DEFERRAL
        waiting = replace(waiting, retry_at=max(waiting.retry_at, shortest))
        japanese, english = told_of(waiting)
        self.log.info("%s: %s", self.partner, english)
        write_note(context, "\n".join([*head_of_note(context), japanese, english]))
        resume_at = max(waiting.retry_at - BEGINS_WITHIN, shortest)
        trigger = WaitTrigger(resume_at, waits_for=f"{self.partner}: {english}")
        self.defer(trigger=trigger, method_name="resume", kwargs={"organizations": list(waiting.organizations)})


def told_of(waiting: Waiting) -> tuple[str, str]:
    """'waiting for the limit until 10:41 (Asia/Tokyo): sakura-care', in Japanese and in English."""
    from partner_sync.delivery.plan import clock_time
    from partner_sync.words import wait_name

    until, codes = clock_time(waiting.retry_at, now=datetime.now(UTC)), waiting.organizations
    who = f"{', '.join(codes[:_SHOWN_ORGANIZATIONS])}{' ...' if len(codes) > _SHOWN_ORGANIZATIONS else ''}"
    return (
        f"{wait_name(waiting.code, 'ja')}を{until}まで待っています: {who}",
        f"waiting for {wait_name(waiting.code, 'en')} until {until} (Asia/Tokyo): {who}",
    )


def run_key(context: Context) -> str:
    """The run's own key in the database: the same for all its tasks and tries, and of bounded length."""
    return bounded_id(f"{context['dag'].dag_id}/{context['run_id']}")


def run_name(context: Context) -> RunName:
    """Which run this is, as the outcomes name it; DAG ids are ``<partner>__<kind>``."""
    from partner_sync.steps.outcomes import RunName

    partner, _, kind = context["dag"].dag_id.partition("__")
    return RunName(partner=partner, run_key=run_key(context), dag=kind)


def patience_of(context: Context) -> Patience:
    """How long this run's steps go on, and whether this is a task's last try."""
    from partner_sync.steps.organizations import Patience

    ti = context["ti"]
    started_at = context["dag_run"].start_date or datetime.now(UTC)
    return Patience(until_at=started_at + LONGEST_WAIT, last_try=ti.try_number > ti.max_tries)


def doors() -> Doors:
    """The ways to the database and to partners, by Airflow's connections."""
    from partner_sync.steps.organizations import Doors
    from partner_sync_airflow.hooks.database import SyncDatabaseHook
    from partner_sync_airflow.hooks.partner import PartnerHook

    return Doors(
        connect=lambda writer: SyncDatabaseHook(writer).get_conn(), access=lambda link: PartnerHook(link).get_conn()
    )
