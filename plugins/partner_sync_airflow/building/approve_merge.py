"""``<partner>__approve_merge``: approve (a person) -> sync. Each run is one question; it waits and holds nothing."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, question_arguments
from partner_sync_airflow.notifications import MergeQuestionNotifier
from partner_sync_airflow.operators.approve_merge import ApproveMergeOperator, SyncApprovedOperator

_DOC = """\
いつもと違う取り込みの前に、人が承認します。 / A person says yes before an unusual sync.

`{partner}__master_sync` starts a run here when a merge was held: an unusual share of the rows would change or go, the
partner listed unusually few or many records, or a patient with visits to come would be removed. The present data stay.
Open the run, read its figures and the sample of our own ids under *Required Actions*, and answer within 24 hours; no
answer is a no.

After a yes a new sync of that organization and entity starts, and may go up to a tenth beyond the figures shown; beyond
that it is held again, with a question of its own. One cause is asked about once, however often it is held: to be asked
again after a no, clear the run here.
Runs are started by that DAG alone, never by hand.
"""


def build_approve_merge(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner without master data."""
    if partner.master is None:
        return None
    slug = partner.slug
    told = MergeQuestionNotifier(partner=slug, alert=partner.owner.alert, names=(partner.name.ja, partner.name.en))
    with DAG(
        **question_arguments(partner, "approve_merge", does="取り込みの承認 / approval of syncs", doc=_DOC),
        schedule=cron(None),
    ) as dag:
        approve = ApproveMergeOperator(task_id="approve", partner=slug, notifiers=told)
        approve >> SyncApprovedOperator(task_id="sync", partner=slug)
    return dag
