"""One DAG `<partner>__approve_push` for each partner file."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.approve_push import build_approve_push
from partner_sync_airflow.dag_files import dags_of

DAGS: dict[str, DAG] = dags_of("approve_push", build_approve_push, wanted=get_parsing_context().dag_id)
globals().update(DAGS)
