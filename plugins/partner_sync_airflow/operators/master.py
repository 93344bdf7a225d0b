"""The tasks of ``<partner>__master_sync``; its validation is in ``validation``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync.partners.model import Partner
from partner_sync_airflow.forms import MasterForm, read_master_form
from partner_sync_airflow.merge_approvals import MergeYes, merge_yes_of
from partner_sync_airflow.operators.base import PartnerSyncOperator, WaitingOperator, doors, patience_of, run_name
from partner_sync_airflow.run_notes import refusals_noted

if TYPE_CHECKING:
    from partner_sync.master.guard import Guard
    from partner_sync.steps.organizations import Waiting


class ResolveMasterOperator(PartnerSyncOperator):
    """Checks the form and finds the organizations; returns them in at most ``shards`` shares."""

    def work(self, context: Context) -> list[list[str]]:
        with refusals_noted(context):
            return self._resolve(context)

    def _resolve(self, context: Context) -> list[list[str]]:
        merge_yes_of(context)
        from partner_sync.links import linked_organizations
        from partner_sync.steps.organizations import shards_of

        partner, form = partner_and_form(self, context)
        with doors().connect("extract") as conn:
            links = linked_organizations(conn, partner=partner.slug, direction="master", codes=form.organizations)
        if not links:
            reason = f"No organization is linked to {partner.slug} for master data."
            raise AirflowSkipException(reason)
        codes = [link.organization for link in links]
        self.log.info("%s, %s: %d organizations: %s", ", ".join(form.entities), form.mode, len(codes), ", ".join(codes))
        return shards_of(codes, count=partner.shards)


class ExtractOperator(WaitingOperator):
    """Reads the entities of a share of the organizations into staging."""

    def run_step(self, context: Context, organizations: list[str]) -> Waiting | None:
        from partner_sync.steps.extract import ExtractWork, extract_organizations

        partner, form = partner_and_form(self, context)
        work = ExtractWork(
            partner=partner, run=run_name(context), entities=form.entities, mode=form.mode, since_at=form.since_at
        )
        return extract_organizations(doors(), work, organizations=organizations, patience=patience_of(context))


class MergeOperator(PartnerSyncOperator):
    """Brings what was judged good into the canonical tables; returns what is held, for the questions."""

    def work(self, context: Context) -> list[dict[str, Any]]:
        from partner_sync.steps.merge import MergeWork, merge_organizations

        partner, form = partner_and_form(self, context)
        work = MergeWork(
            partner=partner, run=run_name(context), entities=form.entities, guard=_guard(form, merge_yes_of(context))
        )
        held = merge_organizations(doors(), work, organizations=resolved(context), patience=patience_of(context))
        return [asdict(each) | {"held": each.held.as_json()} for each in held]


def _guard(form: MasterForm, yes: MergeYes | None) -> Guard:
    """Up to what a person has approved: by a yes a tenth more than was shown, by the form what was typed."""
    from partner_sync.master.guard import Guard, a_tenth_more

    if yes is None:
        return Guard(approved_changed=form.approved_changed, approved_removed=form.approved_removed)
    return Guard(
        approved_changed=a_tenth_more(yes.changed),
        approved_removed=a_tenth_more(yes.removed),
        approved_visits=a_tenth_more(yes.visits),
    )


def resolved(context: Context) -> list[str]:
    """The organizations that ``resolve`` found."""
    shards: Any = context["ti"].xcom_pull(task_ids="resolve") or []
    return [code for shard in shards for code in shard]


def partner_and_form(operator: PartnerSyncOperator, context: Context) -> tuple[Partner, MasterForm]:
    """The partner's file, and what was filled in."""
    partner = operator.partner_file()
    return partner, read_master_form(context["params"], partner)
