"""The DAG `check_partner`: whether a partner can be reached, and what its records look like, masked."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from partner_sync_airflow.building.arguments import cron
from partner_sync_airflow.forms import partner_param
from partner_sync_airflow.operators.check import CheckPartnerOperator

with DAG(
    dag_id="check_partner",
    description="連携先の接続確認 / check of a partner: connect, list one page of each entity, show it masked",
    tags=["check"],
    schedule=cron(None),
    catchup=False,
    is_paused_upon_creation=False,
    params={
        "partner": partner_param(),
        "organization": Param(
            None,
            type=["null", "string"],
            title="Organization / 法人",
            description="Its code; empty: the first linked one. / 法人コード。空欄は連携中の最初の法人。",
        ),
    },
) as dag:
    # No pool of the partner's: the check comes before there is one.
    CheckPartnerOperator(task_id="check", owner="partner-sync", retries=0)
