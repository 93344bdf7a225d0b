"""``<partner>__approve_push``: approve (a person) -> send. Each run is one question; it waits and holds nothing."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, question_arguments
from partner_sync_airflow.notifications import QuestionNotifier
from partner_sync_airflow.operators.approval import ApproveOperator, SendApprovedOperator

_DOC = """\
いつもと違う送信の前に、人が承認します。 / A person says yes before an unusual push.

`{partner}__schedule_push` starts a run here when a push would make more calls than `push.approve_over_calls`, or
resends a past week. Open the run, read its plan under *Required Actions*, and answer within 24 hours; no answer is a
no.

After a yes the push starts again and is planned anew: when it has grown by more than a tenth it asks once more.
Runs are started by that DAG alone, never by hand.
"""


def build_approve_push(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner that takes no schedules."""
    if partner.push is None:
        return None
    slug = partner.slug
    told = QuestionNotifier(partner=slug, alert=partner.owner.alert, names=(partner.name.ja, partner.name.en))
    arguments = question_arguments(partner, "approve_push", does="送信の承認 / approval of pushes", doc=_DOC)
    with DAG(**arguments, schedule=cron(None)) as dag:
        approve = ApproveOperator(task_id="approve", partner=slug, notifiers=told)
        approve >> SendApprovedOperator(task_id="send", partner=slug)
    return dag
