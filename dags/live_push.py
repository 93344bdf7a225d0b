"""One DAG `<partner>__live_push` for each partner file."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.live_push import build_live_push
from partner_sync_airflow.dag_files import dags_of

DAGS: dict[str, DAG] = dags_of("live_push", build_live_push, wanted=get_parsing_context().dag_id)
globals().update(DAGS)
