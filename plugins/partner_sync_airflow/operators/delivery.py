"""The tasks of ``<partner>__schedule_push`` and ``<partner>__live_push``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync.catalogue import sentence
from partner_sync.errors import DatabaseAwayError
from partner_sync_airflow.approvals import QUESTION, Question, yes_of
from partner_sync_airflow.dag_runs import started_by
from partner_sync_airflow.forms import read_push_form
from partner_sync_airflow.operators.base import (
    PartnerSyncOperator,
    WaitingOperator,
    doors,
    patience_of,
    run_name,
)
from partner_sync_airflow.operators.conclude import conclude_run
from partner_sync_airflow.run_notes import refusals_noted, write_note
from partner_sync_airflow.which_week import starts_by_itself, week_of

if TYPE_CHECKING:
    from partner_sync.delivery.approval import Reason
    from partner_sync.steps.organizations import Waiting
    from partner_sync.steps.release import Planned, ReleaseWork


class PlanOperator(PartnerSyncOperator, SkipMixin):
    """Says which week, what a push of it comes to and why visits are blocked; an unusual one goes to a person first.

    A dry run also shows masked bodies, and ends here.
    """

    inherits_from_skipmixin = True

    def work(self, context: Context) -> None:
        from partner_sync.steps.release import dry_run, plan_release

        with refusals_noted(context):
            work, form = release_work(self, context), read_push_form(context["params"])
            if form.dry_run:
                told = dry_run(doors(), work)
                tell(self, context, ("試算のみ・送信しません / dry run: nothing was sent", *told))
                raise AirflowSkipException("A dry run sends nothing.")
            planned = plan_release(doors(), work)
            if work.mode == "failed" and not planned.plan.visits:
                tell(self, context, (sentence("nothing_failed", "ja"), sentence("nothing_failed", "en")))
                raise AirflowSkipException("Nothing of the week stands rejected or given up.")
            tell(self, context, planned.lines())
        reasons = self._reasons_to_ask(context, work, planned)
        if reasons:
            context["ti"].xcom_push(
                key=QUESTION, value=asdict(question(context, work, planned=planned, reasons=reasons))
            )
        self.skip_all_except(context["ti"], "ask" if reasons else "release")

    def _reasons_to_ask(self, context: Context, work: ReleaseWork, planned: Planned) -> tuple[Reason, ...]:
        from partner_sync.delivery.approval import Approval, reasons_to_ask

        yes = yes_of(context)
        return reasons_to_ask(
            planned.plan,
            mode=work.mode,
            usual_calls=work.partner.push.approve_over_calls if work.partner.push else 0,
            now=datetime.now(UTC),
            approval=Approval(calls=yes.calls, by=yes.by) if yes else None,
        )


class ReleaseOperator(PartnerSyncOperator):
    """Releases the week's finalized offices, and returns their organizations in at most ``shards`` shares.

    In the mode ``failed`` nothing is released: what was rejected or given up is asked for anew.
    """

    def work(self, context: Context) -> list[list[str]]:
        from partner_sync.steps.organizations import shards_of
        from partner_sync.steps.release import release_organizations, requeue_organizations

        with refusals_noted(context):
            work = release_work(self, context)
            release = requeue_organizations if work.mode == "failed" else release_organizations
            return shards_of(release(doors(), work), count=work.partner.shards)


class PushOperator(WaitingOperator):
    """Sends the week's items of a share of the organizations."""

    def run_step(self, context: Context, organizations: list[str]) -> Waiting | None:
        from partner_sync.steps.push import WeekWork, push_organizations

        work = WeekWork(partner=self.partner_file(), run=run_name(context), week=week_of(context))
        return push_organizations(doors(), work, organizations=organizations, patience=patience_of(context))


class LivePushOperator(PartnerSyncOperator):
    """Sends what is due and fits now, and ends; red only for a cause that is new."""

    def work(self, context: Context) -> None:
        from partner_sync.steps.push import push_due

        try:
            worked = push_due(doors(), self.partner_file(), run=run_name(context), patience=patience_of(context))
        except DatabaseAwayError as error:
            # The next minute is the retry; a red run each minute would tell the same thing again and again.
            reason = f"{error} The next minute goes on."
            raise AirflowSkipException(reason) from None
        self.log.info("Organizations with something to send: %s", ", ".join(worked) or "none")
        if worked:
            conclude_run(context, partner=self.partner, steps_done=["push"], only_new_causes=True)


def release_work(operator: PartnerSyncOperator, context: Context) -> ReleaseWork:
    """What a run is to release, by its form, its dates and a yes; raises the errors of a form that cannot be.

    Raises AirflowSkipException when no link is for this push.
    """
    from partner_sync.steps.release import ReleaseWork, links_to_release

    week, form, weekly = week_of(context), read_push_form(context["params"]), _is_weekly(context)
    links = links_to_release(doors(), partner=operator.partner, codes=form.organizations, weekly_only=weekly)
    if not links:
        tell(operator, context, ("対象の法人がありません / no organization is linked for this push",))
        reason = f"No organization is linked to {operator.partner} for this push."
        raise AirflowSkipException(reason)
    yes = yes_of(context)
    return ReleaseWork(
        partner=operator.partner_file(),
        links=links,
        week=week,
        mode="weekly" if weekly and form.mode == "changes" else form.mode,
        requested_by=f"{requested_by(context)} (approved by {yes.by})" if yes else requested_by(context),
        run=run_name(context),
    )


def question(context: Context, work: ReleaseWork, *, planned: Planned, reasons: Sequence[Reason]) -> Question:
    """What a person is asked about this run's push: counts and our own codes only (design, rule 15)."""
    form, calls = read_push_form(context["params"]), planned.plan.calls
    told = [f"依頼 / requested by: {requested_by(context)}", *_why(context, reasons)]
    told += [work.week.describe("ja"), work.week.describe(), *planned.lines()]
    return Question(
        form={"week": str(work.week), "organizations": list(form.organizations), "mode": form.mode, "dry_run": False},
        calls=calls,
        organizations=list(planned.report.organizations),
        requested_by=requested_by(context),
        weekly=_is_weekly(context),
        subject=f"{work.partner.name.ja} / {work.partner.name.en}: {work.week}, 呼び出し {calls:,}回 / {calls:,} calls",
        body="\n".join(f"- {line}" for line in told),
        asked_by=[context["dag"].dag_id, context["run_id"]],
    )


def tell(operator: PartnerSyncOperator, context: Context, lines: Iterable[str]) -> None:
    """Say in the log and in the run's note which week it is, and what else there is to say."""
    week = week_of(context)
    told = [week.describe("ja"), week.describe(), *lines]
    for line in told:
        operator.log.info("%s", line)
    write_note(context, "\n".join(told))


def _why(context: Context, reasons: Sequence[Reason]) -> Iterator[str]:
    from partner_sync.words import reason_name

    for reason in reasons:
        yield f"{reason_name(reason, 'ja')} / {reason_name(reason, 'en')}"
    if (yes := yes_of(context)) is not None:
        yield f"承認は {yes.calls:,}回まで / {yes.calls:,} calls were approved"


def _is_weekly(context: Context) -> bool:
    """Whether the push is for the links with the release mode weekly: a schedule or a backfill asked for it."""
    yes = yes_of(context)
    return yes.weekly if yes else starts_by_itself(context["dag_run"])


def requested_by(context: Context) -> str:
    """Who asked first: a person's login, or the schedule or backfill."""
    yes = yes_of(context)
    return yes.requested_by if yes else started_by(context["dag_run"])
