"""Outcomes, the conclusion of a run, and one open incident for one cause (design, rule 9)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from partner_sync.catalogue import sentence
from partner_sync.database import Connection, connect
from partner_sync.errors import DatabaseRefusedError
from partner_sync.incidents import claim_notice, close_incidents, open_incident, open_incidents
from partner_sync.runs import Conclusion, Outcome, Word, conclude, outcomes_of, record_outcome
from postgres_server import Database


@pytest.fixture
def conn(database: Database) -> Connection:
    return database.connect("run")


def say(
    conn: Connection,
    outcome: Word,
    code: str = "merged",
    *,
    organization: str = "aoba",
    entity: str = "",
    run_key: str = "run-1",
    **counts: int,
) -> bool:
    said = Outcome(
        partner="honoka", run_key=run_key, dag="honoka__master_sync", step="merge", outcome=outcome, code=code,
        organization=organization, entity=entity, counts=counts,
    )  # fmt: skip
    return record_outcome(conn, said)


def concluded(conn: Connection, run_key: str = "run-1") -> Conclusion:
    return conclude(conn, partner="honoka", run_key=run_key)


def test_a_retry_that_says_the_same_adds_nothing(conn: Connection) -> None:
    assert say(conn, "ok", inserted=3)
    assert not say(conn, "ok", inserted=3)
    assert len(outcomes_of(conn, partner="honoka", run_key="run-1")) == 1


def test_a_step_that_failed_and_then_succeeded_shows_the_success(conn: Connection) -> None:
    say(conn, "failed", "database_away")
    say(conn, "ok", inserted=3)
    assert not concluded(conn).failed
    assert concluded(conn).counts == {"merge": {"inserted": 3}}


def test_a_failure_that_comes_back_is_news_again(conn: Connection) -> None:
    assert [say(conn, "failed", "unexpected"), say(conn, "ok"), say(conn, "failed", "unexpected")] == [True] * 3
    assert concluded(conn).failed


@pytest.mark.parametrize("writer", ["extract", "validate", "merge", "release", "push", "run"])
def test_every_writer_of_a_step_may_say_what_became_of_it(database: Database, writer: str) -> None:
    assert say(database.connect(writer), "ok")


@pytest.mark.parametrize("writer", ["extract", "merge", "push", "run"])
def test_no_writer_changes_what_was_said(database: Database, writer: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(writer).execute("update sync.run_event set outcome = 'ok'")


def test_not_even_the_owner_rewrites_what_happened(database: Database, conn: Connection) -> None:
    say(conn, "failed", "unexpected")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        database.admin().execute("delete from sync.run_event")


def test_a_count_that_is_no_number_is_refused(conn: Connection) -> None:
    with pytest.raises(DatabaseRefusedError):
        say(conn, "ok", inserted="青葉 太郎")  # type: ignore[arg-type]  # wrong on purpose


def test_one_failed_organization_makes_the_run_fail_and_the_others_are_named_as_done(conn: Connection) -> None:
    say(conn, "ok", organization="botan", inserted=3)
    say(conn, "failed", "partner_auth")
    conclusion = concluded(conn)
    assert conclusion.failed
    assert conclusion.organizations == {"aoba": "failed", "botan": "ok"}
    assert [(cause.code, cause.organizations) for cause in conclusion.new_causes] == [("partner_auth", ("aoba",))]


def test_a_held_slice_is_no_success(conn: Connection) -> None:
    say(conn, "ok", entity="office")
    say(conn, "held", "slice_held", entity="patient")
    assert concluded(conn).failed
    assert concluded(conn).organizations == {"aoba": "held"}


def test_waiting_is_no_failure_and_no_incident(conn: Connection) -> None:
    say(conn, "waiting", "waiting_for_limit")
    assert not concluded(conn).failed
    assert open_incidents(conn, partner="honoka") == ()


def test_a_cause_is_new_once(conn: Connection) -> None:
    for run_key in ("run-1", "run-2"):
        say(conn, "failed", "partner_auth", run_key=run_key)
    assert len(concluded(conn, "run-1").new_causes) == 1
    second = concluded(conn, "run-2")
    assert (len(second.new_causes), len(second.known_causes)) == (0, 1)
    assert second.failed


def test_concluding_again_gives_the_same_conclusion(conn: Connection) -> None:
    say(conn, "failed", "partner_auth")
    assert concluded(conn) == concluded(conn)
    assert [incident.runs for incident in open_incidents(conn, partner="honoka")] == [1]


def test_the_next_good_run_closes_the_cause_and_a_later_one_is_new(conn: Connection) -> None:
    say(conn, "failed", "partner_auth", run_key="run-1")
    say(conn, "ok", run_key="run-2")
    say(conn, "failed", "partner_auth", run_key="run-3")
    concluded(conn, "run-1")
    assert [cause.code for cause in concluded(conn, "run-2").closed_causes] == ["partner_auth"]
    assert len(concluded(conn, "run-3").new_causes) == 1


def test_one_bad_entity_leaves_the_cause_open(conn: Connection) -> None:
    say(conn, "failed", "slice_incomplete", entity="patient", run_key="run-1")
    concluded(conn, "run-1")
    say(conn, "ok", entity="office", run_key="run-2")
    say(conn, "failed", "slice_incomplete", entity="patient", run_key="run-2")
    assert concluded(conn, "run-2").closed_causes == ()


def test_a_step_that_went_well_as_a_whole_leaves_open_only_what_its_visits_still_meet(conn: Connection) -> None:
    say(conn, "failed", "partner_auth", run_key="run-1")
    say(conn, "failed", "rejected", entity="visit", run_key="run-1")
    concluded(conn, "run-1")
    say(conn, "ok", run_key="run-2")
    say(conn, "waiting", "rejected", entity="visit", run_key="run-2")
    told = concluded(conn, "run-2")
    assert (told.failed, [cause.code for cause in told.closed_causes]) == (False, ["partner_auth"])
    say(conn, "ok", run_key="run-3")
    say(conn, "ok", entity="visit", run_key="run-3")
    assert [cause.code for cause in concluded(conn, "run-3").closed_causes] == ["rejected"]


def test_a_cause_of_the_whole_partner_is_over_when_anybody_gets_through(conn: Connection) -> None:
    say(conn, "failed", "partner_unreachable", organization="", run_key="run-1")
    concluded(conn, "run-1")
    say(conn, "ok", run_key="run-2")
    assert [cause.organizations for cause in concluded(conn, "run-2").closed_causes] == [("",)]


def test_organizations_with_one_cause_are_told_together(conn: Connection) -> None:
    for organization in ("aoba", "botan"):
        say(conn, "failed", "partner_unreachable", organization=organization)
    assert [cause.organizations for cause in concluded(conn).new_causes] == [("aoba", "botan")]


def test_a_cause_that_stays_is_escalated_until_somebody_is_told(conn: Connection) -> None:
    escalated, told = [], []
    for number in range(1, 6):
        say(conn, "failed", "partner_auth", run_key=f"run-{number}")
        found = concluded(conn, f"run-{number}").escalated
        escalated.append(len(found))
        # The third run dies before it can tell.
        told += [claim_notice(conn, cause, to="lead") for cause in found if number > 3]
    assert escalated == [0, 0, 1, 1, 1]
    assert [cause and cause.code for cause in told] == ["partner_auth", None]


def test_what_is_escalated_at_once_has_no_second_stage(conn: Connection) -> None:
    for number in range(1, 4):
        say(conn, "failed", "unexpected", run_key=f"run-{number}")
        assert concluded(conn, f"run-{number}").escalated == ()


def test_a_step_that_went_well_as_a_whole_ends_what_had_stopped_it_for_everybody(conn: Connection) -> None:
    open_incident(conn, partner="honoka", organization="", step="extract", code="partner_unreachable", run_key="run-1")
    found = conclude(conn, partner="honoka", run_key="run-2", steps_done=["extract"])
    assert [(cause.step, cause.organizations) for cause in found.closed_causes] == [("extract", ("",))]


def test_what_a_good_run_does_not_undo_is_never_over(conn: Connection) -> None:
    say(conn, "failed", "dead", run_key="run-1")
    concluded(conn, "run-1")
    say(conn, "ok", "pushed", run_key="run-2")
    assert concluded(conn, "run-2").closed_causes == ()
    assert open_incidents(conn, partner="honoka") == ()


def test_only_who_knows_of_a_cause_is_told_that_it_is_over(conn: Connection) -> None:
    say(conn, "failed", "partner_auth")
    (cause,) = concluded(conn).new_causes
    assert claim_notice(conn, cause, to="over", after="alerts") is None
    claim_notice(conn, cause, to="alerts")
    assert claim_notice(conn, cause, to="over", after="alerts") == cause
    assert claim_notice(conn, cause, to="over", after="alerts") is None


def test_the_note_says_in_both_languages_what_was_done_and_who_stopped(conn: Connection) -> None:
    say(conn, "ok", organization="botan", entity="patient", inserted=1240)
    say(conn, "failed", "partner_auth")
    conclusion = concluded(conn)
    assert conclusion.note_en.splitlines()[:2] == [
        "2 organizations: 1 stopped, 1 done",
        "merge: patients new 1,240",
    ]
    assert conclusion.note_ja.splitlines()[:2] == ["2法人: 停止 1、完了 1", "反映: 利用者 新規 1,240"]
    assert conclusion.note_en.splitlines()[2].startswith("aoba / merge: Honoka does not accept the key of aoba")
    assert conclusion.note_ja.splitlines()[2].startswith("aoba / 反映: honokaがaobaの接続キーを受け付けません。")


def test_why_visits_cannot_leave_is_said_with_what_to_do_next_in_one_line_a_reason(conn: Connection) -> None:
    for organization in ("aoba", "botan"):
        blocked = {"visit.blocked.no_key_patient": 1, "visit.blocked.patient_in_quarantine": 2}
        outcome = Outcome(
            partner="honoka", run_key="run-1", dag="schedule_push", step="push", outcome="ok", code="pushed",
            organization=organization, counts={"visit.accepted": 3} | blocked,
        )  # fmt: skip
        record_outcome(conn, outcome)
    conclusion = concluded(conn)
    assert conclusion.note_en.splitlines()[1:] == [
        "push: visits accepted 6, visits blocked 6",
        f"visits blocked 4: {sentence('patient_in_quarantine', 'en', partner='honoka')}",
        f"visits blocked 2: {sentence('no_key_patient', 'en', partner='honoka')}",
    ]
    assert conclusion.note_ja.splitlines()[2].startswith(
        "予定 送信不可 4: honokaにある利用者の情報に誤りがあって隔離中"
    )
    assert "make join-key" in conclusion.note_ja.splitlines()[3]


def test_a_cause_in_a_note_names_its_entity_in_the_notes_language(conn: Connection) -> None:
    say(conn, "held", "slice_held", entity="patient")
    conclusion = concluded(conn)
    assert conclusion.note_ja.splitlines()[1].startswith("aoba / 反映 / 利用者: ")
    assert conclusion.note_en.splitlines()[1].startswith("aoba / merge / patients: ")


def test_of_several_runs_at_one_time_exactly_one_opens_the_incident(database: Database) -> None:
    def meet(number: int) -> bool:
        with connect(database.url("run")) as conn:
            return open_incident(
                conn, partner="honoka", organization="aoba", step="push", code="partner_auth", run_key=f"tick-{number}"
            ).newly_opened

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(meet, range(12))) == 1


def test_an_incident_is_closed_for_its_step_only(conn: Connection) -> None:
    for step in ("extract", "push"):
        open_incident(conn, partner="honoka", organization="aoba", step=step, code="partner_auth", run_key="run-1")
    close_incidents(conn, partner="honoka", organization="aoba", step="push", run_key="run-2")
    assert [incident.step for incident in open_incidents(conn, partner="honoka")] == ["extract"]


def test_each_address_is_told_of_a_cause_once(conn: Connection) -> None:
    say(conn, "failed", "partner_auth")
    (cause,) = concluded(conn).new_causes
    assert claim_notice(conn, cause, to="#partner-sync") == cause
    assert claim_notice(conn, cause, to="#partner-sync") is None
    assert claim_notice(conn, cause, to="#second") == cause


@pytest.mark.parametrize("writer", ["extract", "push", "merge"])
def test_only_the_run_opens_incidents(database: Database, writer: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="42501"):
        open_incident(
            database.connect(writer), partner="honoka", organization="aoba", step="push", code="dead", run_key="r"
        )
