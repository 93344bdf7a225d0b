"""The tasks of ``<partner>__reconcile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync_airflow.forms_of_repair import read_reconcile_form
from partner_sync_airflow.operators.base import (
    PartnerSyncOperator,
    WaitingOperator,
    doors,
    patience_of,
    run_name,
)
from partner_sync_airflow.operators.delivery import requested_by, tell
from partner_sync_airflow.run_notes import refusals_noted
from partner_sync_airflow.which_week import week_of

if TYPE_CHECKING:
    from partner_sync.delivery.comparison import Round
    from partner_sync.steps.organizations import Waiting
    from partner_sync.steps.reconcile import ReconcileWork


class ResolveReconcileOperator(PartnerSyncOperator):
    """Says which week, checks the form, and returns the organizations in at most ``shards`` shares."""

    def work(self, context: Context) -> list[list[str]]:
        from partner_sync.links import linked_organizations
        from partner_sync.steps.organizations import shards_of

        with refusals_noted(context):
            partner, form = self.partner_file(), read_reconcile_form(context["params"])
            week_of(context)
            with doors().connect("push") as conn:
                links = linked_organizations(conn, partner=partner.slug, direction="schedule", codes=form.organizations)
            codes = [link.organization for link in links]
            tell(self, context, (f"法人 / organizations: {', '.join(codes) or '-'}",))
        if not codes:
            reason = f"No organization is linked to {partner.slug} for schedules."
            raise AirflowSkipException(reason)
        return shards_of(codes, count=partner.shards)


class CompareOperator(WaitingOperator):
    """Compares the week of a share of the organizations with what the partner holds.

    :param after_repair: whether it is the comparison that says what a repair has left.
    """

    def __init__(self, *, after_repair: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after_repair = after_repair

    def run_step(self, context: Context, organizations: list[str]) -> Waiting | None:
        from partner_sync.steps.reconcile import compare_organizations

        work = _work(self, context, round_=2 if self.after_repair else 1)
        return compare_organizations(doors(), work, organizations=organizations, patience=patience_of(context))


class RepairOperator(PartnerSyncOperator):
    """Asks for what differs anew, when the form says so, and returns who has something to send, in shares."""

    def work(self, context: Context) -> list[list[str]]:
        from partner_sync.steps.organizations import shards_of
        from partner_sync.steps.reconcile import repair_organizations

        if not read_reconcile_form(context["params"]).repair:
            raise AirflowSkipException("The form asks for no repair.")
        shares: Any = context["ti"].xcom_pull(task_ids="resolve") or []
        repaired = repair_organizations(
            doors(),
            _work(self, context),
            organizations=[code for share in shares for code in share],
            requested_by=requested_by(context),
        )
        if not repaired:
            raise AirflowSkipException("There was nothing to repair.")
        return shards_of(repaired, count=self.partner_file().shards)


class PushRepairsOperator(WaitingOperator):
    """Sends what was repaired for a share of the organizations, as every push does."""

    def run_step(self, context: Context, organizations: list[str]) -> Waiting | None:
        from partner_sync.steps.reconcile import push_repairs

        work = _work(self, context)
        return push_repairs(doors(), work, organizations=organizations, patience=patience_of(context))


def _work(operator: PartnerSyncOperator, context: Context, *, round_: Round = 1) -> ReconcileWork:
    from partner_sync.steps.reconcile import ReconcileWork

    return ReconcileWork(
        partner=operator.partner_file(),
        run=run_name(context),
        week=week_of(context),
        repair=read_reconcile_form(context["params"]).repair,
        round=round_,
    )
