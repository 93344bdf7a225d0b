"""The DAG `hold_partner`: an operator lets no call to a partner leave, or lets them go again."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync_airflow.building.arguments import cron
from partner_sync_airflow.forms import hold_params
from partner_sync_airflow.operators.hold import HoldPartnerOperator

_DOC = """\
連携先または法人への呼び出しを一時停止・再開します。 / Holds or resumes the calls to a partner, or for one organization.

While it is held nothing is sent or read and nothing is lost: pushes say so and end, the minute's push passes it over,
and what is due goes out with the next run after the resume. Calls that are on their way are not called back.
"""

with DAG(
    dag_id="hold_partner",
    description="連携先の一時停止・再開 / hold or resume a partner or one of its organizations",
    tags=["hold"],
    schedule=cron(None),
    catchup=False,
    # Without a schedule nothing starts by itself; and an order to stop calls must not wait for a DAG to be switched on.
    is_paused_upon_creation=False,
    params=hold_params(),
    doc_md=_DOC,
) as dag:
    HoldPartnerOperator(task_id="hold", owner="partner-sync", retries=0)
