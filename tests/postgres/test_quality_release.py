"""A person lets a quarantined record in: what the next validation and merge make of it, and who may do what."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from partner_sync.catalogue import entries
from partner_sync.database import Connection
from partner_sync.quality.release import refusal_of, release
from partner_sync.quality.validate import validate_run
from postgres.judging import Judging, rule
from postgres.listings import ListedPartner, MasterBed, patient
from postgres.staged import Staged
from postgres_server import Database

WHY = "checked by telephone"


@pytest.fixture
def staged(database: Database) -> Staged:
    return Staged(database)


@pytest.fixture
def judging(staged: Staged) -> Judging:
    """Offices; what fails goes into quarantine."""
    return Judging(staged, rule(severity="critical"))


@pytest.fixture
def page(database: Database) -> Connection:
    return database.connect("page")


def only_row(staged: Staged) -> dict[str, Any]:
    [row] = staged.quarantine()
    return row


def accepted(staged: Staged, run_key: str) -> list[str]:
    return staged.accepted(run_key, entity="office")


def events(staged: Staged) -> list[tuple[Any, ...]]:
    rows = staged.database.admin().execute("select who, action, subject, rows, reason from audit.event order by id")
    return [tuple(row.values()) for row in rows]


def quarantined(staged: Staged, judging: Judging) -> int:
    """A record that waits since r1; its id."""
    judging.judge("r1", {"k1": True, "k2": False})
    found: int = only_row(staged)["id"]
    return found


def test_a_released_record_that_is_not_listed_again_is_merged_from_where_it_waits(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    waiting = quarantined(staged, judging)
    assert release(page, waiting, who="op", reason=WHY) is None
    assert only_row(staged)["status"] == "open", "the next validation does it"
    judging.judge("r2", {"k3": False}, full=False, waiting=["k1"])
    row = only_row(staged)
    assert (row["status"], row["returned_as"], row["returned_run_key"]) == ("returned", "released", "r2")
    assert row["first_run_key"] == "r1"
    assert accepted(staged, "r2") == ["k1", "k3"]


def test_a_released_record_that_is_listed_again_comes_once(staged: Staged, judging: Judging, page: Connection) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    judging.judge("r2", {"k1": True, "k2": False})
    assert accepted(staged, "r2") == ["k1", "k2"]
    assert only_row(staged)["returned_as"] == "released"
    judging.judge_again("r2", {"k1": True, "k2": False})
    assert accepted(staged, "r2") == ["k1", "k2"]


def test_what_a_released_record_fails_is_counted_all_the_same(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    judging.judge("r2", {"k1": True, "k2": False})
    conn = staged.database.admin()
    assert conn.execute("select failed from quality.result where run_key = 'r2'").fetchall() == [{"failed": 1}]
    [run] = conn.execute("select quarantined, returned, waiting from quality.run where run_key = 'r2'").fetchall()
    assert run == {"quarantined": 0, "returned": 1, "waiting": 0}
    assert conn.execute("select source_key from quarantine.failing_key").fetchall() == [{"source_key": "k1"}]


def test_the_same_content_stays_in_when_it_is_listed_again_after_its_merge(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    judging.judge("r2", {"k1": True})
    staged.merged("r2", entity="office")
    before = only_row(staged)
    for run_key in ("r3", "r4"):
        judging.judge(run_key, {"k1": True})
        assert accepted(staged, run_key) == ["k1"]
    assert only_row(staged) == before


def test_a_release_that_no_merge_has_taken_is_taken_by_the_next(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    for run_key in ("r2", "r3"):
        judging.judge(run_key, {"k2": False}, full=False, waiting=["k1"])
    assert accepted(staged, "r3") == ["k1", "k2"]
    assert "k1" not in accepted(staged, "r2")


def test_other_content_is_judged_afresh(staged: Staged, judging: Judging, page: Connection) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    rows = [{"source_key": "k1", "name": "another"}]
    staged.slice(rows, entity="office", run_key="r2")
    judging.judge_again("r2", {"k1": True})
    assert accepted(staged, "r2") == []
    assert only_row(staged)["status"] == "open"
    report = staged.database.connect("analyst").execute("select released_at from report.quarantine").fetchall()
    assert report == [{"released_at": None}], "the release was for what it was before"


def test_other_content_that_comes_after_the_merge_waits_in_a_row_of_its_own(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    judging.judge("r2", {"k1": True})
    staged.merged("r2", entity="office")
    staged.slice([{"source_key": "k1", "name": "another"}], entity="office", run_key="r3")
    judging.judge_again("r3", {"k1": True})
    assert [(row["status"], row["first_run_key"]) for row in staged.quarantine()] == [
        ("returned", "r1"),
        ("open", "r3"),
    ]
    judging.judge("r4", {"k1": True})
    assert accepted(staged, "r4") == ["k1"]
    assert [row["returned_as"] for row in staged.quarantine()] == ["released", "newer"]


def test_several_contents_of_a_released_key_wait_all_the_same(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    release(page, quarantined(staged, judging), who="op", reason=WHY)
    staged.slice([{"source_key": "k1"}, {"source_key": "k1", "name": "another"}], entity="office", run_key="r2")
    judging.judge_again("r2", {"k1": True})
    assert accepted(staged, "r2") == []
    row = only_row(staged)
    assert (row["status"], len(row["staged"])) == ("open", 2)
    assert refusal_of(page, row["id"]) == "release_several_copies"


def test_a_released_record_meets_an_unknown_office_and_an_unreadable_date_with_empty_columns(bed: MasterBed) -> None:
    listed = patient("p1", birth="some day", office_id="nowhere")
    entities = ("office", "practitioner", "patient")
    bed.extract("r1", ListedPartner([[listed]]))
    run = {"partner": "honoka", "organizations": [bed.organization], "entities": entities}
    validate_run(bed.validating, run_key="r1", **run)  # type: ignore[arg-type]
    [row] = bed.looking.execute("select id, reasons from quarantine.row").fetchall()
    assert {each["expectation"] for each in row["reasons"]} >= {"record_readable", "office_found"}
    assert release(bed.database.connect("page"), row["id"], who="op", reason=WHY) is None
    bed.extract("r2", ListedPartner([[listed]]))
    validate_run(bed.validating, run_key="r2", **run)  # type: ignore[arg-type]
    assert bed.merge("r2").inserted == 1
    [merged] = bed.looking.execute("select family_name, birth_date, office_id from canonical.patient").fetchall()
    assert merged == {"family_name": "山田", "birth_date": None, "office_id": None}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            "status = 'returned', returned_at = now(), returned_run_key = 'x', returned_as = 'newer'",
            "release_not_waiting",
        ),
        ("source_key = null, fingerprint = 'x'", "release_without_key"),
        ("staged = staged || staged, raw = raw || raw", "release_several_copies"),
        ("staged = jsonb_set(staged, '{0,deleted}', 'true')", "release_of_a_deletion"),
    ],
)
def test_what_a_merge_cannot_take_is_refused_with_a_sentence_and_leaves_no_event(
    staged: Staged, judging: Judging, page: Connection, change: str, code: str
) -> None:
    waiting = quarantined(staged, judging)
    staged.database.admin().execute(f"update quarantine.row set {change}")
    assert release(page, waiting, who="op", reason=WHY) == code
    assert entries()[code].what.ja
    assert events(staged) == []


def test_a_record_that_has_changed_since_it_was_looked_at_is_not_released(
    staged: Staged, judging: Judging, page: Connection
) -> None:
    waiting = quarantined(staged, judging)
    seen = page.execute("select quarantine.record_content(%s) as content", [waiting]).fetchall()[0]["content"]
    staged.database.admin().execute(
        "update quarantine.row set staged = jsonb_set(staged, '{0,phone}', '\"0312345678\"')"
    )
    assert release(page, waiting, who="op", reason=WHY, content=seen) == "release_changed"
    assert events(staged) == []
    now = page.execute("select quarantine.record_content(%s) as content", [waiting]).fetchall()[0]["content"]
    assert release(page, waiting, who="op", reason=WHY, content=now) is None


@pytest.mark.parametrize("reason", ["", "    ok    ", "x" * 501])
def test_a_release_without_a_reason_is_refused(staged: Staged, judging: Judging, page: Connection, reason: str) -> None:
    waiting = quarantined(staged, judging)
    assert release(page, waiting, who="op", reason=reason) == "release_without_reason"
    assert release(page, 99_999, who="op", reason=WHY) == "release_not_waiting"
    assert entries()["release_without_reason"].what.en


def test_of_two_pages_that_release_at_once_one_does_and_the_other_is_told(staged: Staged, judging: Judging) -> None:
    waiting = quarantined(staged, judging)
    pages = [staged.database.connect("page") for _ in range(4)]
    together = threading.Barrier(len(pages))
    said: list[str | None] = []

    def press(conn: Connection, who: str) -> None:
        together.wait()
        said.append(release(conn, waiting, who=who, reason=WHY))

    threads = [threading.Thread(target=press, args=(conn, f"op{n}")) for n, conn in enumerate(pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, said)) == ["None", *["release_given"] * 3]
    assert len(events(staged)) == 1


CALLS = {
    "unmask_record": ("select * from quarantine.read_record(%(id)s, 'op')", 1),
    "unmask_keys": ("select * from quarantine.read_keys('honoka', 'aoba', 'office', %(code)s, 'op')", 1),
    "download_csv": ("select * from quarantine.read_open('honoka', 'aoba', '', 'op')", 1),
    "release_record": ("select quarantine.release_record(%(id)s, 'op', 'for a reason')", 1),
}


@pytest.mark.parametrize("action", CALLS)
def test_each_call_of_an_audited_function_writes_one_event_and_a_failed_transaction_none(
    staged: Staged, judging: Judging, page: Connection, action: str
) -> None:
    facts = {"id": quarantined(staged, judging), "code": judging.rule.code}
    query, rows = CALLS[action]
    with page.transaction(force_rollback=True):
        page.execute(query, facts).fetchall()  # type: ignore[call-overload]  # written here, no input
    assert events(staged) == []
    assert len(page.execute(query, facts).fetchall()) == rows  # type: ignore[call-overload]
    [(who, said, _, counted, _)] = events(staged)
    assert (who, said, counted) == ("op", action, rows)


@pytest.mark.parametrize("query", [query for query, _ in CALLS.values()])
@pytest.mark.parametrize("login", ["analyst", "reader", "run", "validate", "merge"])
def test_only_the_page_may_use_the_audited_functions(staged: Staged, judging: Judging, login: str, query: str) -> None:
    facts = {"id": quarantined(staged, judging), "code": judging.rule.code}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        staged.database.connect(login).execute(query, facts)  # type: ignore[call-overload]


@pytest.mark.parametrize("table", ["quarantine.row", "quarantine.release", "quarantine.failing_key", "audit.event"])
@pytest.mark.parametrize("login", ["page", "analyst"])
def test_nobody_who_shows_pages_reads_the_tables_behind_them(database: Database, login: str, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(login).execute(f"select from {table}")


def test_validation_reads_releases_and_cannot_write_one(staged: Staged, judging: Judging) -> None:
    waiting = quarantined(staged, judging)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        judging.conn.execute(
            "insert into quarantine.release (quarantine_id, content, released_by, reason)"
            " values (%s, 'x', 'op', 'a reason')",
            [waiting],
        )
