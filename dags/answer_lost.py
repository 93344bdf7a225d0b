"""The DAG `answer_lost`: a person says what became of calls whose answers were lost."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync_airflow.building.arguments import cron
from partner_sync_airflow.forms_of_repair import answer_params
from partner_sync_airflow.operators.answer import AnswerLostOperator

_DOC = """\
送信の答えが届かず、連携先に入ったかどうかが分からない予定について、確認した結果を入力します。
/ Says of visits whose answer was lost whether the partner holds them.

The note of the push lists them. Look at the partner's own screen first: a wrong *not there* makes a visit stand there
twice, a wrong *there* leaves it out. When one of the visits does not wait for an answer, nothing is changed.
"""

with DAG(
    dag_id="answer_lost",
    description="送信結果の確認 / a person's word on lost answers: is the visit at the partner?",
    tags=["schedule", "answer_lost"],
    schedule=cron(None),
    catchup=False,
    # Without a schedule nothing starts by itself, and whoever answers should not wait for a DAG to be switched on.
    is_paused_upon_creation=False,
    params=answer_params(),
    doc_md=_DOC,
) as dag:
    AnswerLostOperator(task_id="answer", owner="partner-sync", retries=0)
