"""The operators with a real database and a real practice partner; only Airflow's context is made by hand."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from airflow_for_tests import ROOT
from partner_sync.circuit import Calls, CircuitRule, report_calls, stops
from partner_sync.errors import DatabaseAwayError, UnknownOrganizationError
from partner_sync.kinds.interface import Quota
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.policies import note_policies
from partner_sync.runs import Outcome, record_outcome
from partner_sync.steps.organizations import Waiting
from partner_sync_airflow.causes import OrganizationsStoppedError, StepsFailedError
from partner_sync_airflow.notifications import notifier_of
from partner_sync_airflow.operators.base import run_key
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.delivery import LivePushOperator, ReleaseOperator
from partner_sync_airflow.operators.hold import HoldPartnerOperator
from partner_sync_airflow.operators.master import ExtractOperator, ResolveMasterOperator
from partner_sync_airflow.partner_files import partner_named
from partner_sync_airflow.which_week import WeekNotGivenError
from sandbox.running import RunningPartner

WRITERS = ("extract", "merge", "release", "push", "run")
MASTER = {"organizations": [], "entities": ["office", "practitioner", "patient"], "mode": "full", "reload_from": None}
PUSH = {"week": None, "organizations": [], "mode": "changes", "dry_run": False}


@pytest.fixture(scope="module")
def practice():
    with RunningPartner("honoka", offices=1, practitioners=2, patients=4, dirty_share=0) as partner:
        yield partner


@pytest.fixture
def linked(database, put_connection, practice, tmp_path, monkeypatch):
    """Airflow's connections, a partner file that allows two calls in ten minutes, and one linked organization."""
    text = (ROOT / "include" / "partners" / "honoka.yaml").read_text(encoding="utf-8")
    (tmp_path / "honoka.yaml").write_text(
        text.replace("requests: 60, per_seconds: 10", "requests: 2, per_seconds: 600")
    )
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    for writer in WRITERS:
        info = database.connect(writer).info
        put_connection(
            f"sync_{writer}", conn_type="postgres", host=info.host, port=info.port, schema=info.dbname,
            login=info.user, password=info.password,
        )  # fmt: skip
    key = practice.key("sakura-care")
    put_connection("honoka_sakura", conn_type="http", host=practice.base_url, login=key.login, password=key.secret)
    onboarding = database.connect("onboarding")
    add_organization(onboarding, code="sakura-care", name="sakura")
    entities = ("office", "practitioner", "patient")
    link = Link(
        partner="honoka", organization="sakura-care", connection_id="honoka_sakura",
        directions=("master", "schedule"), master_of=entities,
    )  # fmt: skip
    add_link(onboarding, link)
    return database


class Dag(SimpleNamespace):
    """As much of a DAG as an operator asks for."""

    def topological_sort(self):
        return [SimpleNamespace(task_id=task) for task in self.tasks]


def context(kind, params, *, states=None, task_id="x", run_type="manual", run_id="r1"):
    run = SimpleNamespace(
        run_type=run_type, logical_date=None, run_after=datetime.now(UTC), start_date=datetime.now(UTC),
        triggering_user_name="op", conf=None,
    )  # fmt: skip
    ti = SimpleNamespace(
        task_id=task_id, dag_id=f"honoka__{kind}", run_id=run_id, try_number=1, max_tries=5,
        get_task_states=lambda **_: {run_id: states or {}},
    )  # fmt: skip
    dag = Dag(dag_id=f"honoka__{kind}", tasks=["resolve", "extract", "validate", "merge", "conclude"])
    return {"params": params, "dag": dag, "dag_run": run, "run_id": run_id, "ti": ti}


def test_resolve_names_a_code_that_is_near_to_an_unknown_one(linked):
    operator = ResolveMasterOperator(task_id="resolve", partner="honoka")
    with pytest.raises(UnknownOrganizationError, match="sakura-care"):
        operator.execute(context("master_sync", MASTER | {"organizations": ["sakura-kare"]}))


def test_resolve_shares_out_codes_and_nothing_else(linked):
    assert ResolveMasterOperator(task_id="resolve", partner="honoka").execute(context("master_sync", MASTER)) == [
        ["sakura-care"]
    ]


def test_an_extract_that_meets_a_limit_defers_and_its_trigger_says_for_what(linked):
    operator = ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"])
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context("master_sync", MASTER))
    assert deferred.value.method_name == "resume"
    assert deferred.value.kwargs == {"organizations": ["sakura-care"]}
    waits_for = deferred.value.trigger.waits_for
    assert re.fullmatch(r"honoka: waiting for the limit until [-0-9 ]*\d\d:\d\d \(Asia/Tokyo\): sakura-care", waits_for)
    assert deferred.value.trigger.moment > datetime.now(UTC)


def test_a_task_that_could_go_on_at_once_is_deferred_for_some_seconds_all_the_same():
    operator = ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"])
    began = datetime.now(UTC)
    with pytest.raises(TaskDeferred) as deferred:
        operator.wait(context("master_sync", MASTER), Waiting(organizations=("sakura-care",), retry_at=began))
    assert deferred.value.trigger.moment > began + timedelta(seconds=4)


def test_a_task_is_resumed_before_its_limit_opens_and_is_told_the_moment_itself():
    operator = ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"])
    opens_at = datetime.now(UTC).replace(second=0) + timedelta(minutes=10)
    with pytest.raises(TaskDeferred) as deferred:
        operator.wait(context("master_sync", MASTER), Waiting(organizations=("sakura-care",), retry_at=opens_at))
    assert timedelta(0) < opens_at - deferred.value.trigger.moment < timedelta(seconds=5)
    assert opens_at.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:%M") in deferred.value.trigger.waits_for


def test_an_extract_that_is_resumed_too_early_waits_again_and_has_read_nothing_twice(linked, practice):
    operator = ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"])
    for resume in (operator.execute, lambda ctx: operator.resume(ctx, None, organizations=["sakura-care"])):
        with pytest.raises(TaskDeferred):
            resume(context("master_sync", MASTER))
    read = linked.admin().execute("select entity, state from staging.slice order by entity").fetchall()
    assert {row["entity"]: row["state"] for row in read} == {
        "office": "complete",
        "practitioner": "complete",
        "patient": "open",
    }


def test_a_push_by_hand_without_a_week_is_refused_before_anything_is_written(linked):
    with pytest.raises(WeekNotGivenError):
        ReleaseOperator(task_id="release", partner="honoka").execute(context("schedule_push", PUSH))
    assert linked.admin().execute("select from sync.push_request").fetchall() == []


def test_a_refusal_is_told_in_the_runs_note(linked, put_connection, receiver):
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="x", password="y")
    receiver.answers["/auth/token"] = (201, {"access_token": "t"})
    with pytest.raises(WeekNotGivenError):
        ReleaseOperator(task_id="release", partner="honoka").execute(context("schedule_push", PUSH))
    note = receiver.received[-1][3]["note"]
    assert "No week was given" in note
    assert "週" in note


def test_a_scheduled_push_without_weekly_links_is_skipped_not_failed(linked):
    operator = ReleaseOperator(task_id="release", partner="honoka")
    with pytest.raises(AirflowSkipException):
        operator.execute(context("schedule_push", PUSH, run_type="scheduled"))


def test_a_tick_without_a_database_is_skipped_because_the_next_minute_goes_on(linked, put_connection):
    put_connection("sync_run", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    with pytest.raises(AirflowSkipException, match="next minute"):
        LivePushOperator(task_id="push", partner="honoka").execute(context("live_push", {}))


def test_other_tasks_without_a_database_say_so_to_the_retry_policy(linked, put_connection):
    put_connection("sync_extract", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    with pytest.raises(DatabaseAwayError):
        ResolveMasterOperator(task_id="resolve", partner="honoka").execute(context("master_sync", MASTER))


def hold(params, **changes):
    order = {"partner": "honoka", "organization": None, "action": "hold", "reason": "maintenance"} | params
    return HoldPartnerOperator(task_id="hold").execute(context("hold", order, **changes))


def test_a_partner_is_held_in_the_name_of_who_started_the_run_and_resumed(linked):
    assert hold({}) == "honoka: 一時停止しました(op)。 / held by op."
    [stop] = stops(linked.connect("run")).found
    assert (stop.organization, stop.state, stop.by, stop.reason) == ("", "held", "op", "maintenance")
    assert "nothing changed" in hold({})
    assert hold({"action": "resume"}) == "honoka: 再開しました(op)。 / resumed by op."
    assert stops(linked.connect("run")).found == ()


def test_the_note_of_a_hold_says_what_was_done_but_not_the_persons_own_words(linked, put_connection, receiver):
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="x", password="y")
    receiver.answers["/auth/token"] = (201, {"access_token": "t"})
    hold({"organization": " sakura-care ", "reason": "Yamada asked"})
    note = receiver.received[-1][3]["note"]
    assert "honoka / sakura-care" in note
    assert "Yamada" not in note


def test_a_hold_of_an_organization_that_is_mistyped_names_a_near_one(linked):
    with pytest.raises(UnknownOrganizationError, match="sakura-care"):
        hold({"organization": "sakura-kare"})


def test_an_extract_of_what_is_held_is_skipped_and_does_not_wait(linked, practice):
    hold({})
    before = len(practice.received())
    ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"]).execute(context("master_sync", MASTER))
    assert len(practice.received()) == before
    said = linked.admin().execute("select outcome, code from sync.run_event").fetchall()
    assert said == [{"outcome": "skipped", "code": "partner_held"}]


def test_a_task_that_meets_an_open_circuit_waits_until_a_call_may_try(linked):
    rule = CircuitRule(failures=1, open_seconds=300)
    report_calls(linked.connect("extract"), Calls(failed=1), partner="honoka", organization="sakura-care", rule=rule)
    operator = ExtractOperator(task_id="extract", partner="honoka", shard=["sakura-care"])
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context("master_sync", MASTER))
    assert "sakura-care" in deferred.value.trigger.waits_for
    assert deferred.value.trigger.moment > datetime.now(UTC) + timedelta(seconds=200)


def conclude(linked, states, *outcomes, run_id="r1"):
    for word, code in outcomes:
        outcome = Outcome(
            partner="honoka", run_key=f"honoka__master_sync/{run_id}", dag="master_sync", step="extract", outcome=word,
            code=code, organization="sakura-care",
        )  # fmt: skip
        record_outcome(linked.connect("run"), outcome)
    operator = ConcludeOperator(task_id="conclude", partner="honoka")
    operator.execute(context("master_sync", MASTER, states=states, task_id="conclude", run_id=run_id))


DONE = {"resolve": "success", "extract_0": "success", "extract_1": "success", "validate": "success", "merge": "success"}


def test_a_run_whose_organizations_all_went_well_is_green(linked):
    assert conclude(linked, DONE, ("ok", "extracted")) is None


def test_a_run_with_green_tasks_is_red_when_an_organization_stopped(linked):
    with pytest.raises(OrganizationsStoppedError, match="sakura-care"):
        conclude(linked, DONE, ("failed", "partner_auth"))


def test_a_run_is_red_when_one_shard_failed_even_if_the_others_went_well(linked):
    with pytest.raises(StepsFailedError, match="extract"):
        conclude(linked, DONE | {"extract_1": "failed"}, ("ok", "extracted"))


def test_a_run_that_met_another_limit_than_the_files_is_green_and_says_so(linked, put_connection, receiver):
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="x", password="y")
    put_connection("partner_sync_alerts", conn_type="http", host=f"{receiver.url}/hook")
    receiver.answers["/auth/token"] = (201, {"access_token": "t"})
    said = [Quota(name="burst", requests=1, window_seconds=600)]
    names = {"organization": "sakura-care", "run_key": "honoka__master_sync/r1"}
    note_policies(linked.connect("run"), partner_named("honoka"), **names, policies=said)
    conclude(linked, DONE, ("ok", "extracted"))
    assert [body["code"] for _, path, _, body in receiver.received if path == "/hook"] == ["policy_differs"]
    [note] = [body["note"] for *_, body in receiver.received if "note" in body]
    assert "make check-partner" in note


def told(receiver):
    return [
        (body["stage"], body["escalated"], body["code"]) for _, path, _, body in receiver.received if path == "/hook"
    ]


def test_a_cause_that_lasts_is_told_to_the_lead_once_and_its_end_is_told_once(linked, put_connection, receiver):
    put_connection("partner_sync_alerts", conn_type="http", host=f"{receiver.url}/hook")
    for number in range(1, 6):
        with pytest.raises(OrganizationsStoppedError) as red:
            conclude(linked, DONE, ("failed", "partner_auth"), run_id=f"r{number}")
        notifier_of(partner_named("honoka")).notify(context("master_sync", MASTER) | {"exception": red.value})
    assert told(receiver) == [("met", False, "partner_auth"), ("lasting", True, "partner_auth")]
    for number in range(6, 8):
        conclude(linked, DONE, ("ok", "extracted"), run_id=f"r{number}")
    assert told(receiver)[2:] == [("over", False, "partner_auth")]
    assert "解消しました" in receiver.received[-1][3]["text"]
    assert "It is over." in receiver.received[-1][3]["text"]


def test_a_run_in_which_nothing_was_to_be_done_is_not_concluded(linked):
    with pytest.raises(AirflowSkipException):
        conclude(linked, dict.fromkeys(DONE, "skipped"))


def test_the_key_of_a_run_with_a_very_long_id_is_short_and_its_own():
    keys = {run_key({"dag": SimpleNamespace(dag_id="d"), "run_id": "x" * 300 + end}) for end in "ab"}
    assert len(keys) == 2
    assert max(map(len, keys)) <= 200
