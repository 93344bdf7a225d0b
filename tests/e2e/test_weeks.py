"""Whatever a person does to a push in Airflow: the right week goes out, or a clear refusal comes; never anything else.

What went out is read from the database (sync.push_request) and from what the practice partner holds by its own account.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from e2e.weeks_world import APPROVE, BY_HAND, PUSH, WEEKLY, World, weeks_world
from partner_sync.limiter import pause
from partner_sync.weeks import Week
from stack.airflow_api import AirflowRefusedError
from stack.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.long]

#: ISO week 53 over a year's end, and a week over a month's end.
WEEK_53, MONTH_END = "2026-12-28", "2026-10-26"
SEND, LEAVE = "送信する / Send", "送信しない / Do not send"
LONG_AGO, FUTURE = "2015-01-01T00:00:00Z", "2031-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with weeks_world() as found:
        yield found


def now() -> str:
    return datetime.now(UTC).isoformat()


# --- the form


@pytest.mark.parametrize(
    ("day", "monday", "named"),
    [
        ("2026-12-28", WEEK_53, "week 53 of 2026"),
        ("2027-01-01", WEEK_53, "week 53 of 2026"),
        ("2027-01-03", WEEK_53, "week 53 of 2026"),
        ("2027-01-04", "2027-01-04", "week 1 of 2027"),
        ("2026-10-31", MONTH_END, "week 44 of 2026"),
        ("2026-11-01", MONTH_END, "week 44 of 2026"),
    ],
)
def test_any_day_in_the_form_sends_its_week_and_the_note_names_it(
    world: World, day: str, monday: str, named: str
) -> None:
    world.finalized(day, organizations=[WEEKLY])
    with world.arriving() as arrived:
        run = world.push({"week": day, "organizations": [WEEKLY]})
    assert (run["state"], world.weeks_of(run["dag_run_id"])) == ("success", {monday})
    assert named in run["note"]
    assert arrived <= {(WEEKLY, monday)}
    assert world.planned(monday, WEEKLY) <= world.held(WEEKLY)


@pytest.mark.parametrize("logical_date", [None, LONG_AGO, "now"])
def test_with_a_week_in_the_form_the_date_of_the_run_means_nothing(world: World, logical_date: str | None) -> None:
    monday = {None: "2025-03-03", LONG_AGO: "2025-03-10", "now": "2025-03-17"}[logical_date]
    world.finalized(monday, organizations=[WEEKLY])
    with world.arriving() as arrived:
        run = world.push(
            {"week": monday, "organizations": [WEEKLY]}, logical_date=now() if logical_date == "now" else logical_date
        )
    assert (run["state"], world.weeks_of(run["dag_run_id"])) == ("success", {monday})
    assert arrived == {(WEEKLY, monday)}


@pytest.mark.parametrize("logical_date", [None, "2016-01-01T00:00:00Z", "now"])
def test_a_plain_click_on_trigger_without_a_week_is_refused_in_plain_words(
    world: World, logical_date: str | None
) -> None:
    calls = world.calls()
    run = world.push({}, logical_date=now() if logical_date == "now" else logical_date)
    assert (run["state"], world.states(run["dag_run_id"])["plan"]) == ("failed", "failed")
    assert world.weeks_of(run["dag_run_id"]) == set()
    assert "No week was given" in run["note"]
    assert "週" in run["note"]
    assert world.calls() == calls


@pytest.mark.parametrize("form", [{}, {"week": "2026-12-28"}])
@pytest.mark.parametrize("dag_id", [PUSH, "honoka__master_sync", "honoka__live_push"])
def test_a_date_in_the_future_is_refused_at_once_instead_of_standing_still_until_then(
    world: World, form: dict[str, str], dag_id: str
) -> None:
    conf = form if dag_id == PUSH else {}
    for extra in ({}, {"dag_run_id": f"my-own-{len(form)}"}):
        with pytest.raises(AirflowRefusedError, match="is in the future") as caught:
            world.op.request("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": FUTURE, "conf": conf} | extra)
        assert caught.value.status == 400


@pytest.mark.parametrize("week", ["week 48", "2026-02-30", "", 20261103, "2026-11-03T00:00:00", ["2026-11-03"]])
def test_a_week_that_is_no_day_is_refused_before_there_is_a_run(world: World, week: object) -> None:
    with pytest.raises(AirflowRefusedError, match="week") as caught:
        world.start({"week": week})
    assert caught.value.status == 400


@pytest.mark.parametrize("run_id", ["scheduled__2026-11-06T09:00:00+00:00", "backfill__x", "operator_triggered__x"])
def test_a_run_by_hand_cannot_pretend_to_be_another_kind_of_run(world: World, run_id: str) -> None:
    with pytest.raises(AirflowRefusedError, match="reserved"):
        world.start({"week": WEEK_53}, dag_run_id=run_id)


def test_a_week_that_nobody_has_finalized_is_refused_by_its_name(world: World) -> None:
    run = world.push({"week": "2026-02-02"})
    assert run["state"] == "failed"
    assert "2026-02-02" in run["note"]
    assert "FIX" in run["note"]


def test_a_dry_run_tells_the_plan_although_one_organization_has_a_wrong_key_and_sends_nothing(world: World) -> None:
    world.finalized("2025-04-07")
    calls = world.calls()
    run = world.push({"week": "2025-04-07", "dry_run": True, "mode": "resend"})
    assert run["state"] == "success"
    assert "30 calls" in run["note"]
    assert "dry run" in run["note"]
    assert (world.calls(), world.weeks_of(run["dag_run_id"])) == (calls, set())


# --- clearing


def test_a_cleared_run_means_the_same_week_and_sends_nothing_twice(world: World) -> None:
    world.finalized("2025-05-05", organizations=[WEEKLY])
    run_id = world.push({"week": "2025-05-05", "organizations": [WEEKLY]})["dag_run_id"]
    calls = world.calls()
    world.clear(run_id)
    assert world.ended(run_id)["state"] == "success"
    assert (world.weeks_of(run_id), world.calls()) == ({"2025-05-05"}, calls)


def test_a_cleared_task_means_the_same_week_and_sends_what_has_changed(world: World) -> None:
    world.finalized("2025-05-12", organizations=[WEEKLY])
    run_id = world.push({"week": "2025-05-12", "organizations": [WEEKLY]})["dag_run_id"]
    world.edit("2025-05-12", WEEKLY)
    with world.arriving() as arrived:
        world.clear(run_id, task_ids=["push"])
        assert world.ended(run_id)["state"] == "success"
    assert (world.weeks_of(run_id), arrived) == ({"2025-05-12"}, {(WEEKLY, "2025-05-12")})


# --- backfills


def test_a_backfill_sends_the_weeks_of_its_range_over_a_years_end(world: World) -> None:
    world.finalized("2020-12-21", "2020-12-28", "2021-01-04", "2021-01-11")
    with world.arriving() as arrived:
        runs = world.backfilled(world.backfill("2020-12-28", "2021-01-05"))
    assert [run["state"] for run in runs] == ["success", "success"]
    assert [world.weeks_of(run["dag_run_id"]) for run in runs] == [{"2020-12-28"}, {"2021-01-04"}]
    assert "week 53 of 2020" in runs[0]["note"]
    assert arrived == {(WEEKLY, "2020-12-28"), (WEEKLY, "2021-01-04")}, "links that are pushed by hand stay out"


@pytest.mark.parametrize(("from_date", "to_date"), [("2020-12-31", "2020-12-31"), ("2020-12-28", "2021-01-03")])
def test_a_backfill_from_and_to_a_day_means_the_week_of_that_day(world: World, from_date: str, to_date: str) -> None:
    body = {"dag_id": PUSH, "from_date": from_date, "to_date": to_date, "reprocess_behavior": "completed"}
    shown = world.api.request("POST", "backfills/dry_run", json=body)["backfills"]
    assert [Week.of(datetime.fromisoformat(each["logical_date"])) for each in shown] == [Week.parse("2020-12-28")]


@pytest.mark.parametrize(("behavior", "again"), [("none", 0), ("failed", 1), ("completed", 2)])
def test_a_second_backfill_reprocesses_as_asked_and_sends_changes_only(world: World, behavior: str, again: int) -> None:
    first, second = {"none": ("2019-01-07", "2019-01-14"), "failed": ("2019-02-04", "2019-02-11"),
                     "completed": ("2019-03-04", "2019-03-11")}[behavior]  # fmt: skip
    world.finalized(first, organizations=[WEEKLY])
    assert [run["state"] for run in world.backfilled(world.backfill(first, second))] == ["success", "failed"]
    world.finalized(second, organizations=[WEEKLY])
    with world.arriving() as arrived:
        runs = world.backfilled(world.backfill(first, second, reprocess_behavior=behavior))
    assert len(runs) == again
    assert {run["state"] for run in runs} <= {"success"}
    assert arrived == ({(WEEKLY, second)} if again else set()), "the first week was sent already"


def test_a_backfill_is_given_no_week_because_each_of_its_runs_would_send_that_one(world: World) -> None:
    world.finalized("2019-04-01", organizations=[WEEKLY])
    calls = world.calls()
    [run] = world.backfilled(world.backfill("2019-04-01", "2019-04-01", dag_run_conf={"week": WEEK_53}))
    assert run["state"] == "failed"
    assert "backfill run takes its week from its date" in run["note"]
    assert world.calls() == calls


def test_a_backfill_runs_as_many_at_a_time_as_was_asked_and_a_large_week_asks_a_person(world: World) -> None:
    world.link_as(BY_HAND, "weekly")
    try:
        world.finalized("2019-05-06", "2019-05-13", "2019-05-20")
        runs = world.backfilled(world.backfill("2019-05-06", "2019-05-20", max_active_runs=1))
        questions = [world.question(run["dag_run_id"]) for run in runs]
    finally:
        world.link_as(BY_HAND, "manual")
    spans = sorted((run["start_date"], run["end_date"]) for run in runs)
    assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(spans))
    assert [world.weeks_of(run["dag_run_id"]) for run in runs] == [set(), set(), set()]
    for question in questions:
        world.answer(question, LEAVE)


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        (("2031-01-06", "2031-01-20"), "future dates"),
        (("2020-12-20", "2020-12-02"), "must not be after"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused_at_once(world: World, dates: tuple[str, str], reason: str) -> None:
    with pytest.raises(AirflowRefusedError, match=reason):
        world.backfill(*dates)


def test_a_backfill_that_ends_in_the_future_goes_up_to_the_present_week(world: World) -> None:
    body = {"dag_id": PUSH, "from_date": now(), "to_date": FUTURE, "reprocess_behavior": "none"}
    body["from_date"] = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    shown = world.api.request("POST", "backfills/dry_run", json=body)["backfills"]
    this = Week.of(datetime.now(UTC))
    assert [Week.of(datetime.fromisoformat(each["logical_date"])) for each in shown] == [this.previous(), this]


@pytest.mark.parametrize("dag_id", ["honoka__master_sync", "honoka__live_push"])
def test_what_has_nothing_to_do_for_days_gone_by_takes_no_backfill(world: World, dag_id: str) -> None:
    body = {"dag_id": dag_id, "from_date": "2020-01-01", "to_date": "2020-12-31", "max_active_runs": 1}
    with pytest.raises(AirflowRefusedError, match="does not allow backfill"):
        world.api.request("POST", "backfills", json=body)


# --- the schedule


def test_neither_switching_on_nor_a_backfill_of_old_weeks_starts_the_schedule_for_a_moment_that_is_over(
    world: World,
) -> None:
    found = world.api.request("GET", f"dags/{PUSH}/dagRuns", params={"run_type": "scheduled"})
    assert found["total_entries"] == 0


def test_the_schedule_sends_the_coming_week_of_the_links_that_say_weekly(world: World) -> None:
    coming = Week.of(datetime.now(UTC)).next()
    world.finalized(str(coming))
    with world.arriving() as arrived, world.scheduled_each_minute():
        run = world.ended(world.first_scheduled())
    assert Week.of(datetime.fromisoformat(run["logical_date"])).next() == coming
    assert (run["state"], world.weeks_of(run["dag_run_id"])) == ("success", {str(coming)})
    assert arrived == {(WEEKLY, str(coming))}
    modes = world.rows("select distinct mode, requested_by from sync.push_request where week = %s", coming.monday)
    assert modes == [{"mode": "weekly", "requested_by": "scheduled"}]


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
