"""The tasks of ``<partner>__schedule_push`` and ``<partner>__live_push``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync.errors import DatabaseAwayError
from partner_sync.weeks import Week
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
    from partner_sync.steps.organizations import Waiting
    from partner_sync.steps.release import ReleaseWork


class ReleaseOperator(PartnerSyncOperator):
    """Says which week, releases its finalized offices, and returns their organizations in at most ``shards`` shares.

    A dry run counts, plans and shows masked bodies instead; what follows is skipped.
    """

    def work(self, context: Context) -> list[list[str]]:
        with refusals_noted(context):
            return self._release(context)

    def _release(self, context: Context) -> list[list[str]]:
        from partner_sync.steps.organizations import shards_of
        from partner_sync.steps.release import dry_run, release_organizations

        week, form = week_of(context), read_push_form(context["params"])
        self._tell(context, (week.describe("ja"), week.describe()))
        work = self._release_work(context, week)
        if form.dry_run:
            self._tell(context, (week.describe(), "dry run: nothing was sent / 試算のみ", *dry_run(doors(), work)))
            raise AirflowSkipException("A dry run sends nothing.")
        released = release_organizations(doors(), work)
        self._tell(context, (week.describe("ja"), week.describe(), *released.lines))
        return shards_of(released.organizations, count=work.partner.shards)

    def _release_work(self, context: Context, week: Week) -> ReleaseWork:
        from partner_sync.steps.release import ReleaseWork, links_to_release

        form, by_itself = read_push_form(context["params"]), starts_by_itself(context["dag_run"])
        links = links_to_release(doors(), partner=self.partner, codes=form.organizations, weekly_only=by_itself)
        if not links:
            reason = f"No organization is linked to {self.partner} for this push."
            raise AirflowSkipException(reason)
        return ReleaseWork(
            partner=self.partner_file(),
            links=links,
            week=week,
            mode="weekly" if by_itself and form.mode == "changes" else form.mode,
            requested_by=_requested_by(context),
            run=run_name(context),
        )

    def _tell(self, context: Context, lines: Iterable[str]) -> None:
        told = list(lines)
        for line in told:
            self.log.info("%s", line)
        write_note(context, "\n".join(told))


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


def _requested_by(context: Context) -> str:
    run = context["dag_run"]
    return run.triggering_user_name or str(getattr(run.run_type, "value", run.run_type))
