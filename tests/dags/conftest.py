"""The DAGs as Airflow would read them, from folders of partner files."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_for_tests import ROOT, use_own_home

use_own_home()

KINDS = ("master_sync", "approve_merge", "schedule_push", "approve_push", "live_push", "reconcile")
ReadDags = Callable[..., dict[str, Any]]


@pytest.fixture
def partners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of partner files, which the DAG files read."""
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    return tmp_path


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partner files that come with the project."""
    monkeypatch.delenv("PARTNER_SYNC_PARTNERS", raising=False)


@pytest.fixture
def read_dags() -> ReadDags:
    """Run the DAG files as Airflow does and collect the DAGs at their top level."""
    from airflow.sdk import DAG

    def read(*kinds: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind in kinds or KINDS:
            module = runpy.run_path(str(ROOT / "dags" / f"{kind}.py"))
            found |= {value.dag_id: value for value in module.values() if isinstance(value, DAG)}
        return found

    return read
