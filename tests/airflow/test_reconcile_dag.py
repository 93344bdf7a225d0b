"""The whole DAG of a comparison, run by Airflow itself: what is skipped, what follows what, which runs are red."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from airflow_for_tests import ROOT
from desk_in_airflow import desk_in_airflow
from postgres.product import WEEK

pytestmark = pytest.mark.long
FORM = {"week": str(WEEK), "organizations": [], "repair": False}


@pytest.fixture(scope="module", autouse=True)
def _metadata():
    """Airflow's own tables, in the SQLite of this test process."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, check=True)


@pytest.fixture
def desk(database, put_connection, tmp_path, monkeypatch):
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    with desk_in_airflow(database, put_connection, tmp_path) as desk:
        yield desk


def run(**form):
    """The states of a run and of its tasks."""
    dag = runpy.run_path(str(ROOT / "dags" / "reconcile.py"))["DAGS"]["honoka__reconcile"]
    for task in dag.tasks:
        task.retries = 0
    done = dag.test(run_conf=FORM | form)
    states = {}
    for each in done.get_task_instances():
        states.setdefault(each.task_id, set()).add(str(each.state))
    return str(done.state), {task: "/".join(sorted(found)) for task, found in states.items()}


def test_without_a_difference_nothing_is_repaired_and_the_run_is_green(desk):
    state, tasks = run(repair=True)
    assert state == "success"
    assert tasks == {
        "resolve": "success", "compare": "success", "repair": "skipped", "push": "skipped",
        "compare_again": "skipped", "conclude": "success",
    }  # fmt: skip


def test_a_difference_without_a_repair_is_red_and_changes_nothing(desk):
    del desk.keeper.records["v2"]
    state, tasks = run()
    assert (state, tasks["compare"], tasks["repair"], tasks["conclude"]) == ("failed", "success", "skipped", "failed")
    assert sorted(desk.keeper.records) == ["v1", "v3"]


def test_a_repair_mends_what_differs_and_ends_green(desk):
    del desk.keeper.records["v2"]
    state, tasks = run(repair=True)
    assert (state, set(tasks.values())) == ("success", {"success"})
    assert sorted(desk.keeper.records) == ["v1", "v2", "v3"]
