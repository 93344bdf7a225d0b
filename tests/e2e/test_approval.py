"""The question before an unusual push, and pushes that wait, on a live Airflow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from e2e.weeks_world import APPROVE, BY_HAND, LEAVE, PUSH, SEND, WEEKLY, World
from partner_sync.limiter import pause
from stack.airflow_api import AirflowRefusedError
from stack.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.long]


# --- the question before an unusual push


def test_an_unusual_push_sends_nothing_until_a_person_says_yes_and_then_once(world: World) -> None:
    world.finalized("2025-06-02")
    calls = world.calls()
    asking = world.push({"week": "2025-06-02"})
    question = world.question(asking["dag_run_id"])
    assert (asking["state"], world.calls(), world.weeks_of(asking["dag_run_id"])) == ("success", calls, set())
    assert question in asking["note"]
    asked = world.asked(question)
    assert "30 calls" in asked["subject"]
    assert "2025-06-02 to Sun 2025-06-08" in asked["body"]
    with world.arriving() as arrived:
        world.answer(question, SEND, by=world.op)
        assert world.ended(question, APPROVE)["state"] == "success"
        sent = world.ended(f"approved__{asking['dag_run_id']}")
    assert (sent["state"], world.weeks_of(sent["dag_run_id"])) == ("success", {"2025-06-02"})
    assert arrived == {(WEEKLY, "2025-06-02"), (BY_HAND, "2025-06-02")}
    assert "approved__" in world.api.run(PUSH, asking["dag_run_id"])["note"]
    asked_for = world.rows(
        "select distinct requested_by, mode from sync.push_request where run_key = %s", f"{PUSH}/{sent['dag_run_id']}"
    )
    assert asked_for == [{"requested_by": "op (approved by op)", "mode": "changes"}]


def test_nothing_else_waits_behind_a_question(world: World) -> None:
    world.finalized("2025-06-09")
    world.finalized("2025-06-16", organizations=[WEEKLY])
    asking = [world.start({"week": "2025-06-09"}) for _ in range(9)]
    open_questions = [world.question(run_id) for run_id in asking]
    usual = world.push({"week": "2025-06-16", "organizations": [WEEKLY]})
    assert (usual["state"], world.weeks_of(usual["dag_run_id"])) == ("success", {"2025-06-16"})
    for question in open_questions:
        world.answer(question, LEAVE)


def test_a_no_sends_nothing_and_both_runs_say_so(world: World) -> None:
    world.finalized("2025-06-23")
    asking = world.push({"week": "2025-06-23"})["dag_run_id"]
    question = world.question(asking)
    calls = world.calls()
    world.answer(question, LEAVE)
    notes = [world.ended(question, APPROVE)["note"], world.api.run(PUSH, asking)["note"]]
    assert all("not approved" in note and "admin" in note for note in notes)
    assert world.states(question, APPROVE) == {"approve": "success", "send": "skipped"}
    assert world.calls() == calls


def test_no_answer_in_time_is_a_no(world: World) -> None:
    world.finalized("2025-06-30")
    asking = world.push({"week": "2025-06-30"})["dag_run_id"]
    question = world.question(asking)
    [waits] = world.rows(
        "select trigger_timeout - start_date as time from task_instance where run_id = %s and task_id = 'approve'",
        question,
        database="airflow",
    )
    assert timedelta(hours=23, minutes=59) < waits["time"] < timedelta(hours=24, minutes=1)
    world.rows(
        "update task_instance set trigger_timeout = now() where run_id = %s and task_id = 'approve'",
        question,
        database="airflow",
    )
    calls = world.calls()
    note = world.ended(question, APPROVE)["note"]
    assert "within 24 hours" in note
    assert note == world.api.run(PUSH, asking)["note"]
    assert (world.states(question, APPROVE)["send"], world.calls()) == ("skipped", calls)


def test_a_push_that_has_grown_by_more_than_a_tenth_since_the_yes_asks_again(world: World) -> None:
    world.finalized("2025-07-07", organizations=[WEEKLY])
    asking = world.push({"week": "2025-07-07", "mode": "resend"})["dag_run_id"]
    question = world.question(asking)
    assert "a resend of a past week" in world.asked(question)["body"]
    world.finalized("2025-07-07", organizations=[BY_HAND])
    world.answer(question, SEND)
    again = f"approved__{asking}"
    assert (world.ended(again)["state"], world.weeks_of(again)) == ("success", set())
    second = world.question(again)
    assert "15 calls were approved" in world.asked(second)["body"]
    world.answer(second, SEND)
    sent = f"approved__{again}"
    assert (world.ended(sent)["state"], world.weeks_of(sent)) == ("success", {"2025-07-07"})
    assert len(world.planned("2025-07-07", BY_HAND) & world.held(BY_HAND)) == 15


def test_a_cleared_resend_that_was_approved_sends_nothing_a_second_time(world: World) -> None:
    world.finalized("2025-07-14", organizations=[WEEKLY])
    asking = world.push({"week": "2025-07-14", "mode": "resend"})["dag_run_id"]
    world.answer(world.question(asking), SEND)
    sent = f"approved__{asking}"
    assert world.ended(sent)["state"] == "success"
    calls = world.calls()
    world.clear(sent)
    assert (world.ended(sent)["state"], world.calls()) == ("success", calls)


def test_a_question_that_was_answered_can_be_answered_once_and_a_yes_starts_one_push(world: World) -> None:
    world.finalized("2025-07-21")
    asking = world.push({"week": "2025-07-21"})["dag_run_id"]
    question = world.question(asking)
    world.answer(question, SEND)
    with pytest.raises(AirflowRefusedError) as caught:
        world.answer(question, LEAVE)
    assert caught.value.status == 409
    world.ended(question, APPROVE)
    world.ended(f"approved__{asking}")
    calls = world.calls()
    world.clear(question, task_ids=["send"], dag_id=APPROVE)
    assert world.ended(question, APPROVE)["state"] == "success"
    assert (world.states(question, APPROVE)["send"], world.calls()) == ("skipped", calls)


def test_marking_the_question_as_done_is_no_yes(world: World) -> None:
    world.finalized("2025-07-28")
    question = world.question(world.push({"week": "2025-07-28"})["dag_run_id"])
    calls = world.calls()
    world.mark_success(question, task_id="approve", dag_id=APPROVE)
    assert world.ended(question, APPROVE)["state"] == "failed"
    assert world.calls() == calls


def test_a_viewer_can_neither_push_nor_answer(world: World) -> None:
    world.finalized("2025-08-04")
    question = world.question(world.push({"week": "2025-08-04"})["dag_run_id"])
    with world.installation.api("viewer") as viewer:
        for ask in (
            lambda: world.answer(question, SEND, by=viewer),
            lambda: viewer.request("POST", f"dags/{PUSH}/dagRuns", json={"logical_date": None, "conf": {}}),
        ):
            with pytest.raises(AirflowRefusedError) as caught:
                ask()
            assert caught.value.status == 403
    world.answer(question, LEAVE)


def test_an_approval_that_somebody_types_is_refused(world: World) -> None:
    yes = {"calls": 9999, "by": "me", "requested_by": "me", "weekly": False}
    world.finalized("2025-08-11")
    run = world.push({"week": "2025-08-11", "approval": yes})
    assert (run["state"], world.weeks_of(run["dag_run_id"])) == ("failed", set())
    assert "Questions and approvals are no input" in run["note"]
    body = {"logical_date": None, "conf": {"question": {"calls": 1}}}
    typed = world.op.request("POST", f"dags/{APPROVE}/dagRuns", json=body)["dag_run_id"]
    assert world.ended(typed, APPROVE)["state"] == "failed"


# --- waiting


def test_a_push_that_waits_for_the_limit_says_until_when_holds_no_worker_and_uses_up_no_retry(world: World) -> None:
    world.finalized("2025-09-01", organizations=[WEEKLY])
    until = datetime.now(UTC) + timedelta(seconds=25)
    with world.installation.connect("sync_push") as conn:
        pause(conn, partner="honoka", organization=WEEKLY, until_at=until)
    run_id = world.start({"week": "2025-09-01", "organizations": [WEEKLY]})
    wait_until(lambda: world.states(run_id).get("push") == "deferred", seconds=120, what="the deferred push")
    note = world.api.run(PUSH, run_id)["note"]
    assert re.search(rf"waiting for the limit until [-0-9 ]*\d\d:\d\d \(Asia/Tokyo\): {WEEKLY}", note)
    assert "呼び出し上限の空きを" in note
    assert world.ended(run_id)["state"] == "success"
    [push] = [task for task in world.api.task_instances(PUSH, run_id) if task["task_id"] == "push"]
    assert push["try_number"] == 1
    assert world.planned("2025-09-01", WEEKLY) <= world.held(WEEKLY)
