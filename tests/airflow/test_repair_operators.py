"""The tasks of reconcile, `resend failed` and answer_lost, on a real database and a partner that can be damaged."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from desk_in_airflow import desk_in_airflow, put_file
from partner_sync.errors import NotParkedError, PartnerFileError, UnknownOrganizationError
from partner_sync_airflow.causes import OrganizationsStoppedError
from partner_sync_airflow.operators.answer import AnswerLostOperator
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.delivery import PlanOperator
from partner_sync_airflow.operators.reconcile import (
    CompareOperator,
    PushRepairsOperator,
    RepairOperator,
    ResolveReconcileOperator,
)
from partner_sync_airflow.which_week import WeekNotGivenError
from postgres.product import WEEK

FORM = {"week": str(WEEK), "organizations": [], "repair": False}
STEPS = ["resolve", "compare", "repair", "push", "compare_again", "conclude"]


@pytest.fixture
def desk(database, put_connection, tmp_path, monkeypatch):
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    with desk_in_airflow(database, put_connection, tmp_path) as desk:
        yield desk


@pytest.fixture
def notes(put_connection, receiver):
    """The notes that the runs get, the last one last."""
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="x", password="y")
    receiver.answers["/auth/token"] = (201, {"access_token": "t"})
    return lambda: [body["note"] for *_, body in receiver.received if body and "note" in body]


class Dag(SimpleNamespace):
    """As much of a DAG as an operator asks for."""

    def topological_sort(self):
        return [SimpleNamespace(task_id=task) for task in STEPS]


def context(dag_id="honoka__reconcile", params=FORM, *, states=None, task_id="x", pushed=None):
    run = SimpleNamespace(
        run_type="manual", logical_date=None, run_after=datetime.now(UTC), start_date=datetime.now(UTC),
        triggering_user_name="op", conf={},
    )  # fmt: skip
    ti = SimpleNamespace(
        task_id=task_id, dag_id=dag_id, run_id="r1", try_number=1, max_tries=5, xcom_pull=lambda **_: pushed,
        xcom_push=lambda **_: None, get_task_states=lambda **_: {"r1": states or {}},
    )  # fmt: skip
    return {"params": params, "dag": Dag(dag_id=dag_id), "dag_run": run, "run_id": "r1", "ti": ti}


def compare(form=FORM, **options):
    operator = CompareOperator(task_id="compare", partner="honoka", shard=["sakura"], **options)
    operator.execute(context(params=form))


def repair(form):
    return RepairOperator(task_id="repair", partner="honoka").execute(context(params=form, pushed=[["sakura"]]))


def conclude(form=FORM):
    done = dict.fromkeys(STEPS[:-1], "success")
    ConcludeOperator(task_id="conclude", partner="honoka").execute(
        context(params=form, states=done, task_id="conclude")
    )


def test_resolve_wants_a_week_and_names_near_organizations(desk):
    resolve = ResolveReconcileOperator(task_id="resolve", partner="honoka")
    with pytest.raises(WeekNotGivenError):
        resolve.execute(context(params=FORM | {"week": None}))
    with pytest.raises(UnknownOrganizationError, match="sakura"):
        resolve.execute(context(params=FORM | {"organizations": ["sakure"]}))
    assert resolve.execute(context()) == [["sakura"]]


def test_a_week_that_agrees_is_green_and_needs_no_repair(desk, notes):
    compare()
    conclude()
    assert "visits the same 3" in notes()[-1]
    with pytest.raises(AirflowSkipException):
        repair(FORM)
    with pytest.raises(AirflowSkipException):
        repair(FORM | {"repair": True})


def test_a_difference_turns_the_run_red_and_its_note_counts_it_and_says_what_to_do(desk, notes):
    del desk.keeper.records["v2"]
    desk.keeper.records["v3"]["note"] = "typed there"
    compare()
    with pytest.raises(OrganizationsStoppedError, match="sakura"):
        conclude()
    assert "visits missing there 1, visits different there 1" in notes()[-1]
    assert "予定 連携先になし 1" in notes()[-1]
    assert "run the comparison again with repair" in notes()[-1]
    assert "typed there" not in notes()[-1]


def test_a_repair_sends_what_differs_and_the_run_is_green_when_nothing_is_left(desk, notes):
    form = FORM | {"repair": True}
    del desk.keeper.records["v2"]
    compare(form)
    assert repair(form) == [["sakura"]]
    PushRepairsOperator(task_id="push", partner="honoka", shard=["sakura"]).execute(context(params=form))
    compare(form, after_repair=True)
    conclude(form)
    assert sorted(desk.keeper.records) == ["v1", "v2", "v3"]
    assert "repair: visits on their way 1" in notes()[-1]
    assert "compare again: visits the same 3" in notes()[-1]
    assert desk.rows("select requested_by, reason from sync.requeue") == [("op", "reconcile")]


def test_what_no_repair_can_mend_leaves_the_run_red(desk):
    form = FORM | {"repair": True}
    desk.keeper.keep(dict(desk.keeper.records["v1"]), "v77")
    compare(form)
    with pytest.raises(AirflowSkipException):
        repair(form)
    with pytest.raises(OrganizationsStoppedError):
        conclude(form)
    assert "v77" in desk.keeper.records


def test_a_comparison_that_meets_the_limit_defers(desk, tmp_path):
    put_file(tmp_path, requests=1)
    desk.product.database.admin().execute("truncate sync.rate_ledger")
    with pytest.raises(TaskDeferred) as deferred:
        compare()
    assert deferred.value.kwargs == {"organizations": ["sakura"]}


def test_resend_failed_with_nothing_failed_says_so_and_is_skipped(desk, notes):
    params = {"week": str(WEEK), "organizations": [], "mode": "failed", "dry_run": False}
    with pytest.raises(AirflowSkipException):
        PlanOperator(task_id="plan", partner="honoka").execute(context("honoka__schedule_push", params))
    assert "No visit of this week stands rejected or given up." in notes()[-1]


ANSWER = {"partner": "honoka", "organization": "sakura", "visits": ["v1"], "answer": "there"}


def test_a_person_answers_for_a_visit_and_the_note_says_what_becomes_of_it(desk, notes):
    desk.product.visit("v1", revision=2, note="later")
    push = desk.product.database.connect("push")
    owner = push.execute("select sync.become_owner() as o").fetchone()["o"]
    claimed = push.execute(
        "select id from sync.claim('honoka', 'sakura', %s, array ['v1'], '{}', 'p1')", (owner,)
    ).fetchone()
    push.execute("select sync.mark_sent(array [%s], %s, 1)", (claimed["id"], owner))
    item = f'{{"attempt": {claimed["id"]}, "outcome": "unknown", "parked": true, "code": "outcome_unknown_person"}}'
    push.execute("select sync.settle(%s, %s, 'p1', 8)", (item, owner))
    settled = AnswerLostOperator(task_id="answer").execute(context("answer_lost", ANSWER))
    assert settled == {"accepted": 1}
    assert notes()[-1] == "honoka, sakura: 反映済み 1 / 1 accepted"
    assert desk.rows("select visit_id, there, requested_by from sync.parked_answer") == [("v1", True, "op")]


def test_an_answer_for_a_visit_that_does_not_wait_is_refused_in_the_note(desk, notes):
    with pytest.raises(NotParkedError):
        AnswerLostOperator(task_id="answer").execute(context("answer_lost", ANSWER))
    assert "v1" in notes()[-1]
    assert "何も変えていません" in notes()[-1]


def test_an_answer_for_a_partner_that_is_not_known_is_refused(desk):
    from partner_sync.errors import ConfigError

    with pytest.raises((ConfigError, PartnerFileError), match="nobody"):
        AnswerLostOperator(task_id="answer").execute(context("answer_lost", ANSWER | {"partner": "nobody"}))
