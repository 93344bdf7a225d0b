"""One DAG `<partner>__master_sync` for each partner file."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.master_sync import build_master_sync
from partner_sync_airflow.dag_files import dags_of

DAGS: dict[str, DAG] = dags_of("master_sync", build_master_sync, wanted=get_parsing_context().dag_id)
globals().update(DAGS)
