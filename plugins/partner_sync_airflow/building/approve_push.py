"""``<partner>__approve_push``: approve (a person) -> send. Each run is one question; it waits and holds nothing."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import QUESTIONS_AT_A_TIME, cron, dag_arguments
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
    with DAG(
        **dag_arguments(partner, "approve_push", does="送信の承認 / approval of pushes"),
        schedule=cron(None),
        # A question that nobody can see would be a no: this DAG is on from the first.
        is_paused_upon_creation=False,
        max_active_runs=QUESTIONS_AT_A_TIME,
        doc_md=_DOC.replace("{partner}", slug),
    ) as dag:
        approve = ApproveOperator(task_id="approve", partner=slug, notifiers=told)
        approve >> SendApprovedOperator(task_id="send", partner=slug)
    return dag
