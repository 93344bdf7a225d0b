"""Findings and the figures by day: one finding for one cause, and sums that can be made anew from the runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import tuple_row

from partner_sync.database import Connection
from partner_sync.quality.record import make_days
from postgres.judging import Judging, rule
from postgres.staged import PARTNER, Staged
from postgres_server import Database

_KEYS = ("k1", "k2", "k3")
_numbers = count()


@pytest.fixture
def staged(database: Database) -> Staged:
    return Staged(database)


@pytest.fixture
def judging(staged: Staged) -> Judging:
    return Judging(staged, rule())


@pytest.fixture
def validating(database: Database) -> Connection:
    return database.connect("validate")


def findings(judging: Judging, organization: str = "aoba") -> list[tuple[Any, ...]]:
    """Each finding as (opened, last, runs, failed, closed), the oldest first."""
    with judging.conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(
            "select opened_run_key, last_run_key, runs, failed, closed_run_key from quality.finding"
            " where organization = %s order by id",
            [organization],
        ).fetchall()


def days(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table: conn.execute(f"select t.* from {table} t order by t::text").fetchall()
        for table in ("quality.day", "quality.day_score")
    }


@dataclass
class Model:
    """What a person would write down: a finding is open while anything is known to fail."""

    failing: set[str] = field(default_factory=set)
    written: list[list[Any]] = field(default_factory=list)

    def run(self, run_key: str, judged: dict[str, bool], *, full: bool) -> None:
        now_failing = {key for key, fails in judged.items() if fails}
        self.failing = now_failing if full else (self.failing - set(judged)) | now_failing
        is_open = bool(self.written) and self.written[-1][4] is None
        if now_failing and is_open:
            self.written[-1][1:4] = [run_key, self.written[-1][2] + 1, len(now_failing)]
        elif now_failing:
            self.written.append([run_key, run_key, 1, len(now_failing), None])
        elif (judged or full) and is_open and not self.failing:
            self.written[-1][4] = run_key


_RUNS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(_KEYS), st.booleans()), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(runs=_RUNS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_findings_follow_what_is_known_to_fail_whatever_runs_come(judging: Judging, runs: list[Any]) -> None:
    organization, model = f"o{next(_numbers)}", Model()
    for number, (judged, full, again) in enumerate(runs):
        model.run(f"r{number}", judged, full=full)
        judging.judge(f"r{number}", judged, full=full, organization=organization)
        if again:
            judging.judge_again(f"r{number}", judged, organization=organization)
        assert findings(judging, organization) == [tuple(each) for each in model.written]
    kept = days(judging.conn)
    make_days(judging.conn)
    assert days(judging.conn) == kept


def test_a_finding_that_more_keys_fail_than_are_kept_waits_for_a_list_of_everything(judging: Judging) -> None:
    many = {f"k{number:04}": True for number in range(1001)}
    judging.judge("r1", many)
    judging.judge("r2", dict.fromkeys(sorted(many)[:1000], False), full=False)
    assert findings(judging) == [("r1", "r1", 1, 1001, None)]
    judging.judge("r3", dict.fromkeys(many, False))
    assert findings(judging) == [("r1", "r1", 1, 1001, "r3")]


def test_a_finding_of_an_info_whose_keys_are_not_kept_waits_for_a_list_of_everything(staged: Staged) -> None:
    judging = Judging(staged, rule(severity="info"))
    judging.judge("r1", {"k1": True, "k2": True})
    judging.judge("r2", {"k1": False}, full=False)
    assert findings(judging) == [("r1", "r1", 1, 2, None)]
    judging.judge("r3", {"k1": False, "k2": False})
    assert findings(judging) == [("r1", "r1", 1, 2, "r3")]


def test_an_older_run_that_is_judged_again_counts_once(judging: Judging) -> None:
    judging.judge("r1", {"k1": True})
    judging.judge("r2", {"k1": True})
    judging.judge_again("r1", {"k1": True})
    assert findings(judging) == [("r1", "r2", 2, 1, None)]


def test_an_older_run_that_is_judged_again_closes_nothing_that_a_newer_one_has_met(judging: Judging) -> None:
    judging.judge("r1", {"k1": True})
    judging.judge("r2", {"k2": True})
    judging.judge_again("r1", {"k1": False})
    assert findings(judging) == [("r1", "r2", 2, 1, None)]


def test_a_run_that_fails_when_it_is_judged_again_opens_no_second_finding(judging: Judging) -> None:
    judging.judge("r1", {"k1": True})
    judging.judge("r2", {"k1": False})
    judging.judge_again("r2", {"k1": True})
    assert findings(judging) == [("r1", "r2", 2, 1, None)]


def test_texts_are_written_once_and_again_when_they_differ(staged: Staged) -> None:
    judging = Judging(staged, rule())
    conn = judging.conn
    query = "select expectation, severity, ja, xmin::text as version from quality.expectation"
    judging.judge("r1", {"k1": True})
    first = conn.execute(query).fetchall()
    judging.judge("r2", {"k1": True})
    assert conn.execute(query).fetchall() == first
    judging.rule = rule(severity="info")
    judging.judge("r3", {"k1": True})
    [changed] = conn.execute(query).fetchall()
    assert (changed["severity"], changed["ja"]) == ("info", "電話番号の形になっている。")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("office", "patient")),
            st.sampled_from(("aoba", "wakaba")),
            st.integers(0, 95),
            st.integers(0, 9),
            st.sampled_from(("warning", "critical")),
        ),
        max_size=12,
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_days_made_one_by_one_are_what_all_days_made_together_are(validating: Connection, runs: list[Any]) -> None:
    conn = validating
    conn.execute("delete from quality.run")
    make_days(conn)
    for number, (entity, organization, hours, failed, severity) in enumerate(runs):
        key = [PARTNER, organization, entity, f"r{number}"]
        conn.execute(
            "insert into quality.run values (%s, %s, %s, %s, 10, 0, 0, 0, 0,"
            " timestamptz '2026-11-20 00:00+09' + %s * interval '1 hour')",
            [*key, hours],
        )
        conn.execute(
            "insert into quality.result values (%s, %s, %s, %s, 'x', 'accuracy', %s, 'us', 10, %s)",
            [*key, severity, failed],
        )
        [day] = conn.execute(
            "select (at at time zone 'Asia/Tokyo')::date as day from quality.run where run_key = %s", [f"r{number}"]
        )
        make_days(conn, partner=PARTNER, entity=entity, day=day["day"])
    kept = days(conn)
    assert sum(row["failed"] for row in kept["quality.day"]) == sum(run[3] for run in runs)
    make_days(conn)
    assert days(conn) == kept


def test_a_day_begins_at_midnight_in_tokyo(database: Database) -> None:
    conn = database.connect("validate")
    for run_key, at in (("late", "2026-11-20 23:59:59+09"), ("early", "2026-11-21 00:00+09")):
        key = [PARTNER, "aoba", "office", run_key]
        conn.execute("insert into quality.run values (%s, %s, %s, %s, 1, 0, 0, 0, 0, %s)", [*key, at])
        conn.execute("insert into quality.result values (%s, %s, %s, %s, 'x', 'accuracy', 'info', 'us', 1, 0)", key)
    make_days(conn)
    assert [str(row["day"]) for row in days(conn)["quality.day"]] == ["2026-11-20", "2026-11-21"]


def test_what_every_run_sees_whole_is_over_with_the_first_that_passes(staged: Staged) -> None:
    judging = Judging(staged, replace(rule(severity="info"), judges="slice"))
    judging.judge("r1", {"k1": True}, full=False)
    judging.judge("r2", {"k2": False}, full=False)
    assert findings(judging) == [("r1", "r1", 1, 1, "r2")]
    [text] = judging.conn.execute("select column_name from quality.expectation").fetchall()
    assert text == {"column_name": None}
