"""Who is told of a failure, on a real database and a real HTTP server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from partner_sync.errors import (
    DatabaseAwayError,
    FormError,
    NothingFinalizedError,
    PartnerUnavailableError,
    UnknownOrganizationError,
)
from partner_sync.kinds.interface import Quota
from partner_sync.policies import note_policies
from partner_sync.runs import Outcome, conclude, record_outcome
from partner_sync_airflow.causes import OrganizationsStoppedError, StepsFailedError
from partner_sync_airflow.notifications import PartnerSyncNotifier, notifier_of
from partner_sync_airflow.partner_files import partner_named
from partner_sync_airflow.which_week import WeekNotGivenError

AWAY = PartnerUnavailableError(partner="honoka", endpoint="GET /v1/offices", problem="503", retry_at=None)


def failed(error, *, run_id="run-1", task_id="extract"):
    ti = SimpleNamespace(task_id=task_id, dag_id="honoka__master_sync", run_id=run_id)
    return {"exception": error, "ti": ti, "run_id": run_id, "dag": SimpleNamespace(dag_id="honoka__master_sync")}


@pytest.fixture
def alerts(receiver, put_connection, database):
    info = database.connect("run").info
    put_connection(
        "sync_run", conn_type="postgres", host=info.host, port=info.port, schema=info.dbname, login=info.user,
        password=info.password,
    )  # fmt: skip
    put_connection("partner_sync_alerts", conn_type="http", host=f"{receiver.url}/hook", password="token")
    return receiver


@pytest.fixture
def notifier():
    return PartnerSyncNotifier(partner="honoka", alert="#partner-sync", names=("ほのか記録", "Honoka records"))


def stop(database, *organizations, run_key="r1", code="partner_auth"):
    """A run in which these organizations stopped, concluded."""
    for organization in organizations:
        outcome = Outcome(
            partner="honoka", run_key=run_key, dag="master_sync", step="extract", outcome="failed", code=code,
            organization=organization,
        )  # fmt: skip
        record_outcome(database.connect("run"), outcome)
    found = conclude(database.connect("run"), partner="honoka", run_key=run_key)
    causes = (*found.new_causes, *found.known_causes)
    return OrganizationsStoppedError(partner="honoka", count=1, organizations=", ".join(organizations), causes=causes)


def test_an_alert_tells_partner_organizations_step_whose_turn_and_next_action_in_two_languages(
    alerts, notifier, database
):
    notifier.notify(failed(stop(database, "sakura", "kaede"), task_id="conclude"))
    [(method, path, headers, body)] = alerts.received
    assert (method, path, headers["Authorization"]) == ("POST", "/hook", "Bearer token")
    assert (body["partner"], body["organizations"], body["step"]) == ("honoka", ["kaede", "sakura"], "extract")
    assert (body["code"], body["owner"], body["channel"]) == ("partner_auth", "user", "#partner-sync")
    for word in ("ほのか記録", "Honoka records", "sakura", "担当", "Whose turn", "次の対応", "Next"):
        assert word in body["text"]


def test_a_cause_is_told_once_however_many_runs_meet_it(alerts, notifier, database):
    for run_key in ("r1", "r2", "r3"):
        notifier.notify(failed(stop(database, "sakura", run_key=run_key), task_id="conclude"))
    assert len(alerts.received) == 1


def whole_step(notifier, *run_ids, error=AWAY):
    for run_id in run_ids:
        notifier.notify(failed(error, run_id=run_id))


def test_a_step_that_fails_again_and_again_is_told_once_more_to_the_lead_and_not_again(alerts, notifier):
    whole_step(notifier, "run-1", "run-2", "run-2")
    assert [(body["stage"], body["escalated"]) for *_, body in alerts.received] == [("met", False)]
    whole_step(notifier, "run-3", "run-4", "run-5")
    (*_, told) = alerts.received[-1]
    assert len(alerts.received) == 2
    assert (told["stage"], told["escalated"], told["code"]) == ("lasting", True, "partner_unreachable")
    assert "責任者" in told["text"]
    assert "3 runs or more" in told["text"]


def test_what_the_catalogue_escalates_at_once_is_told_once_and_marked(alerts, notifier):
    whole_step(notifier, "run-1", "run-2", error=ValueError())
    [(*_, told)] = alerts.received
    assert (told["code"], told["stage"], told["escalated"]) == ("unexpected", "met", True)
    assert "team's lead" in told["text"]


def test_an_organization_that_joins_a_known_cause_is_told_alone(alerts, notifier, database):
    notifier.notify(failed(stop(database, "sakura"), task_id="conclude"))
    notifier.notify(failed(stop(database, "sakura", "kaede", run_key="r2"), task_id="conclude"))
    assert [body["organizations"] for *_, body in alerts.received] == [["sakura"], ["kaede"]]


def test_two_shards_that_cannot_reach_the_partner_are_one_cause(alerts, notifier):
    for _ in range(2):
        notifier.notify(failed(AWAY))
    [(*_, body)] = alerts.received
    assert (body["code"], body["organizations"]) == ("partner_unreachable", [])


def test_a_form_filled_in_wrongly_is_told_each_time_with_its_own_words(alerts, notifier):
    error = NothingFinalizedError(week="2026-11-23", organizations="sakura")
    for run_id in ("run-1", "run-2"):
        notifier.notify(failed(error, run_id=run_id, task_id="release"))
    assert ["no office of sakura" in body["text"] for *_, body in alerts.received] == [True, True]


def test_what_somebody_mistyped_alarms_nobody(alerts, notifier):
    for error in (
        FormError(ja="入力", en="typed"),
        UnknownOrganizationError(organization="sakura", suggestions=""),
        WeekNotGivenError(),
    ):
        notifier.notify(failed(error, task_id="plan"))
    assert alerts.received == []


def test_a_conclusion_that_only_repeats_a_failed_step_tells_nobody(alerts, notifier):
    notifier.notify(failed(StepsFailedError(partner="honoka", steps="extract"), task_id="conclude"))
    assert alerts.received == []


def test_an_unknown_error_is_told_without_its_text(alerts, notifier):
    notifier.notify(failed(ValueError("山田太郎")))
    [(*_, body)] = alerts.received
    assert body["code"] == "unexpected"
    assert "山田" not in body["text"]


def test_a_database_that_is_away_is_told_all_the_same(alerts, notifier, put_connection):
    put_connection("sync_run", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    notifier.notify(failed(DatabaseAwayError(sqlstate="08006")))
    assert [body["code"] for *_, body in alerts.received] == ["database_away"]


def test_a_receiver_that_answers_with_an_error_fails_nothing(alerts, notifier):
    alerts.answers["/hook"] = (500, {})
    notifier.notify(failed(AWAY))
    assert len(alerts.received) == 1


def test_a_notice_is_told_once_although_nothing_failed(alerts, database):
    told = [Quota(name="burst", requests=5, window_seconds=10)]
    partner = partner_named("honoka")
    for run_key in ("r1", "r2"):
        conn = database.connect("run")
        note_policies(conn, partner, organization="sakura", run_key=run_key, policies=told)
        found = conclude(conn, partner="honoka", run_key=run_key)
        notifier_of(partner).tell(failed(None), found.notices, stage="met")
    [(*_, body)] = alerts.received
    assert (body["code"], body["severity"], body["organizations"]) == ("policy_differs", "warning", ["sakura"])
    assert "make check-partner" in body["text"]
