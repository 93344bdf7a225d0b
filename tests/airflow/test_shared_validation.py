"""A sync that leaves its validation to validate_due: it waits without a worker, and hears what became of it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from airflow_for_tests import ROOT
from partner_sync.errors import SharedValidationError, ValidationOverdueError
from partner_sync_airflow.operators.validation import ValidateDueOperator, ValidateOperator

MASTER = {"organizations": [], "entities": ["office"], "mode": "full", "reload_from": None}


@pytest.fixture
def shared(database, put_connection, tmp_path, monkeypatch):
    """Partner files of honoka and tsubaki that share their validation."""
    for slug in ("honoka", "tsubaki"):
        text = (ROOT / "include" / "partners" / f"{slug}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{slug}.yaml").write_text(text.replace("master:\n", "master:\n  validation: shared\n", 1))
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    for writer in ("validate", "run"):
        info = database.connect(writer).info
        put_connection(
            f"sync_{writer}", conn_type="postgres", host=info.host, port=info.port, schema=info.dbname,
            login=info.user, password=info.password,
        )  # fmt: skip
    return database


def context(partner="honoka"):
    ti = SimpleNamespace(
        task_id="validate", dag_id=f"{partner}__master_sync", run_id="r1", xcom_pull=lambda **_: [["aoba"], ["wakaba"]]
    )
    return {"params": MASTER, "dag": SimpleNamespace(dag_id=ti.dag_id), "run_id": "r1", "ti": ti}


def asks(partner="honoka"):
    """The validate task, until it waits; returns what it gave to the triggerer."""
    operator = ValidateOperator(task_id="validate", partner=partner)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(partner))
    return operator, deferred.value


def staged(database, partner="honoka"):
    extract = database.connect("extract")
    database.connect("onboarding").execute("select staging.ensure_partition(%s)", [partner])
    extract.execute(
        "insert into staging.slice (partner, organization, entity, run_key, mode, state)"
        " values (%s, 'aoba', 'office', %s, 'full', 'complete')",
        [partner, f"{partner}__master_sync/r1"],
    )
    extract.execute(
        "insert into staging.office (partner, organization, run_key, page, source_key, name, raw)"
        " values (%s, 'aoba', %s, 1, 'f1', 'ひまわり', '{}')",
        [partner, f"{partner}__master_sync/r1"],
    )


def judge_all():
    return ValidateDueOperator(task_id="judge").execute({})


def test_the_task_waits_in_the_triggerer_until_a_bounded_moment_and_says_for_what(shared):
    _, deferred = asks()
    trigger = deferred.trigger
    assert (trigger.partner, trigger.run_key, deferred.method_name) == ("honoka", "honoka__master_sync/r1", "resume")
    assert timedelta(minutes=29) < trigger.until_at - datetime.now(UTC) <= timedelta(minutes=30)
    assert "validate_due" in trigger.waits_for
    assert "aoba, wakaba" in trigger.waits_for


def test_the_note_of_a_run_that_waits_names_the_dag_that_it_waits_for(shared, put_connection, receiver):
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="x", password="y")
    receiver.answers["/auth/token"] = (201, {"access_token": "t"})
    asks()
    note = receiver.received[-1][3]["note"]
    assert note.count("validate_due") == 2


def test_what_one_process_has_judged_lets_each_waiting_run_go_on(shared):
    waiting = []
    for partner in ("honoka", "tsubaki"):
        staged(shared, partner)
        waiting.append((partner, *asks(partner)))
    assert judge_all() == ["honoka", "tsubaki"]
    for partner, operator, deferred in waiting:
        assert operator.resume(context(partner), {"state": "done"}, **deferred.kwargs) is None
    found = shared.admin().execute("select partner, run_key, evaluated from quality.run order by partner").fetchall()
    assert [tuple(row.values()) for row in found] == [
        ("honoka", "honoka__master_sync/r1", 1),
        ("tsubaki", "tsubaki__master_sync/r1", 1),
    ]
    said = shared.admin().execute("select distinct dag, step, code from sync.run_event").fetchall()
    assert said == [{"dag": "master_sync", "step": "validate", "code": "validated"}]


def test_a_run_that_cannot_be_judged_is_red_for_its_own_reason_and_the_others_are_judged(shared):
    staged(shared, "tsubaki")
    operator, deferred = asks("honoka")
    asks("tsubaki")
    # A column of its entity is gone: whatever goes wrong with one run is its own affair.
    shared.admin().execute("update quality.due set entities = '{patient}' where partner = 'honoka'")
    shared.admin().execute(
        "insert into staging.slice (partner, organization, entity, run_key, mode, state)"
        " values ('honoka', 'aoba', 'patient', 'honoka__master_sync/r1', 'full', 'complete')"
    )
    shared.admin().execute("alter table staging.patient rename column birth_date to born")
    judged = judge_all()
    assert sorted(judged) == ["honoka", "tsubaki"]
    with pytest.raises(SharedValidationError) as error:
        operator.resume(context(), None, **deferred.kwargs)
    assert error.value.code == "database_refused"
    state = shared.admin().execute("select state from quality.due where partner = 'tsubaki'").fetchall()
    assert state == [{"state": "done"}]


def test_a_run_that_is_resumed_before_it_was_judged_waits_on_until_the_same_moment(shared):
    operator, deferred = asks()
    with pytest.raises(TaskDeferred) as again:
        operator.resume(context(), None, **deferred.kwargs)
    assert again.value.kwargs == deferred.kwargs


def test_a_run_that_nobody_judges_in_time_is_red_and_is_not_judged_afterwards(shared):
    operator, _ = asks()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with pytest.raises(ValidationOverdueError, match="30 minutes"):
        operator.resume(context(), None, until_at=past)
    with pytest.raises(AirflowSkipException, match="Nothing is due"):
        judge_all()


def test_a_run_whose_wish_was_withdrawn_before_is_red_and_does_not_go_on_unjudged(shared):
    operator, _ = asks()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for _ in range(2):
        with pytest.raises(ValidationOverdueError):
            operator.resume(context(), None, until_at=past)


def test_a_run_that_was_judged_at_the_last_moment_goes_on(shared):
    staged(shared)
    operator, _ = asks()
    judge_all()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert operator.resume(context(), None, until_at=past) is None


def test_neither_the_waiting_task_nor_an_idle_tick_loads_the_library_that_judges(shared):
    code = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred\n"
        "from partner_sync_airflow.operators.validation import ValidateDueOperator, ValidateOperator\n"
        "try:\n"
        "    ValidateDueOperator(task_id='judge').execute({})\n"
        "except AirflowSkipException:\n"
        "    print('idle')\n"
        "ti = SimpleNamespace(task_id='validate', dag_id='honoka__master_sync', xcom_pull=lambda **_: [['aoba']])\n"
        f"context = {{'params': {MASTER!r}, 'dag': SimpleNamespace(dag_id=ti.dag_id), 'run_id': 'r', 'ti': ti}}\n"
        "try:\n"
        "    ValidateOperator(task_id='validate', partner='honoka').execute(context)\n"
        "except TaskDeferred:\n"
        "    print('waits')\n"
        "print('great_expectations' in sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'include'}:{ROOT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert [line for line in done.stdout.splitlines() if line in {"idle", "waits", "True", "False"}] == [
        "idle",
        "waits",
        "False",
    ]
