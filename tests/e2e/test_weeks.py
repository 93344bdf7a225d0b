"""Whatever a person does to a push in Airflow: the right week goes out, or a clear refusal comes; never anything else.

What went out is read from the database (sync.push_request) and from what the practice partner holds by its own account.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from e2e.weeks_world import BY_HAND, LEAVE, PUSH, WEEKLY, World
from partner_sync.weeks import Week
from stack.airflow_api import AirflowRefusedError

pytestmark = [pytest.mark.live, pytest.mark.long]

#: ISO week 53 over a year's end, and a week over a month's end.
WEEK_53, MONTH_END = "2026-12-28", "2026-10-26"
LONG_AGO, FUTURE = "2015-01-01T00:00:00Z", "2031-01-01T00:00:00Z"


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
