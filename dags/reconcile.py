"""One DAG `<partner>__reconcile` for each partner file."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.reconcile import build_reconcile
from partner_sync_airflow.dag_files import dags_of

DAGS: dict[str, DAG] = dags_of("reconcile", build_reconcile, wanted=get_parsing_context().dag_id)
globals().update(DAGS)
