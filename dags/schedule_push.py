"""One DAG `<partner>__schedule_push` for each partner file."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.schedule_push import build_schedule_push
from partner_sync_airflow.dag_files import dags_of

DAGS: dict[str, DAG] = dags_of("schedule_push", build_schedule_push, wanted=get_parsing_context().dag_id)
globals().update(DAGS)
