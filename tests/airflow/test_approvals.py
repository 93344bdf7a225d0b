"""What one run hands to another around a question: names, yeses, and DAGs that are switched off."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import DagRunTriggerException

from partner_sync.errors import FormError
from partner_sync_airflow.approvals import (
    ApprovalByHandError,
    DagPausedError,
    Yes,
    approved_run_id,
    question_of,
    question_run_id,
    start_run,
    yes_of,
)
from partner_sync_airflow.operators.approval import SendApprovedOperator

YES = {"calls": 30, "by": "admin", "requested_by": "op", "weekly": False}


def context(run_id="manual__1", *, conf=None, run_type="operator_triggered", clears=0, paused=False):
    return {
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="honoka__schedule_push"),
        "dag_run": SimpleNamespace(conf=conf, run_type=run_type, clear_number=clears),
        "ti": SimpleNamespace(get_dag=lambda _: SimpleNamespace(is_paused=paused)),
    }


def test_a_retry_asks_the_same_question_and_a_cleared_run_asks_anew():
    assert question_run_id(context()) == question_run_id(context()) == "ask__manual__1"
    assert question_run_id(context(clears=1)) != question_run_id(context())


def test_a_yes_to_a_question_names_one_push():
    assert approved_run_id(context("ask__manual__1")) == "approved__manual__1"


def test_names_stay_short_and_apart_however_often_it_is_asked_again():
    names = {question_run_id(context("x" * 245 + end)) for end in "ab"}
    again = {approved_run_id(context(name)) for name in names}
    assert (len(names), len(again)) == (2, 2)
    assert max(map(len, names | again)) <= 200


def test_a_yes_counts_in_a_run_that_a_task_has_started_and_nowhere_else():
    assert yes_of(context(conf={"approval": YES})) == Yes(**YES)
    assert yes_of(context(conf=None)) is None
    for run_type in ("manual", "scheduled", "backfill", "asset_triggered"):
        with pytest.raises(ApprovalByHandError, match="honoka__schedule_push"):
            yes_of(context(conf={"approval": YES}, run_type=run_type))


def test_a_question_that_somebody_types_is_none():
    with pytest.raises(ApprovalByHandError):
        question_of(context(conf={"question": {}}, run_type="manual"))


def test_a_dag_that_is_switched_off_is_not_started_in_silence():
    with pytest.raises(DagPausedError, match="honoka__approve_push"):
        start_run(context(paused=True), dag_id="honoka__approve_push", run_id="x", conf={})


def test_a_run_that_is_there_already_is_not_started_a_second_time():
    started = start_run(context(), dag_id="honoka__approve_push", run_id="x", conf={"a": 1})
    assert isinstance(started, DagRunTriggerException)
    assert (started.dag_run_id, started.skip_when_already_exists, started.reset_dag_run) == ("x", True, False)


def test_a_task_that_is_marked_instead_of_answered_sends_nothing_and_says_so():
    question = {
        "form": {}, "calls": 3, "organizations": [], "requested_by": "op", "weekly": False, "subject": "", "body": "",
        "asked_by": ["honoka__schedule_push", "r1"],
    }  # fmt: skip
    waiting = context(conf={"question": question})
    waiting["ti"].xcom_pull = lambda **_: None
    with pytest.raises(FormError, match="Nobody has said yes"):
        SendApprovedOperator(task_id="send", partner="honoka").execute(waiting)
