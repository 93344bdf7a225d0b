"""Shared validation in the database: who is judged, by whom, how often, and what the waiting run hears."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from partner_sync.database import Connection
from partner_sync.errors import DatabaseAwayError
from partner_sync.quality.shared import (
    MOST_ATTEMPTS,
    Answer,
    Due,
    answer_at,
    answer_of,
    anything_due,
    ask,
    give_up,
    judge_due,
)
from postgres_server import Database


def due(partner: str = "honoka", run_key: str = "r1") -> Due:
    return Due(partner=partner, run_key=run_key, dag="master_sync", organizations=["aoba"], entities=["office"])


@pytest.fixture
def conn(database: Database) -> Connection:
    return database.connect("validate")


def judged(conn: Connection, *, failing: str | None = None) -> list[tuple[str, str | None]]:
    found = judge_due(conn, lambda each: "expectation_raised" if each.partner == failing else None)
    return [(each.partner, code) for each, code in found]


def ended(process: Connection) -> None:
    """A process that judged is gone, and the server has noticed: the lock goes a moment after the connection."""
    pid, dsn, password = process.info.backend_pid, process.info.dsn, process.info.password
    process.close()
    with psycopg.connect(dsn, password=password, autocommit=True) as conn:
        for _ in range(200):
            if not conn.execute("select from pg_locks where pid = %s", [pid]).fetchall():
                return
            time.sleep(0.05)
    pytest.fail("The lock is still held.")


def answer(conn: Connection, partner: str = "honoka") -> Answer | None:
    return answer_of(conn, partner=partner, run_key="r1")


def test_nothing_is_due_before_a_run_asks_and_after_it_was_judged(conn: Connection) -> None:
    assert not anything_due(conn)
    ask(conn, due())
    assert anything_due(conn)
    assert judged(conn) == [("honoka", None)]
    assert not anything_due(conn)
    assert answer(conn) == Answer(state="done")


def test_all_that_is_due_is_judged_by_one_process_in_the_order_of_asking(conn: Connection) -> None:
    for partner in ("tsubaki", "honoka", "akane"):
        ask(conn, due(partner))
    assert judged(conn) == [("tsubaki", None), ("honoka", None), ("akane", None)]


def test_what_is_asked_while_others_are_judged_is_judged_too(conn: Connection) -> None:
    ask(conn, due())
    seen = []
    for each, _ in judge_due(conn, lambda _: None):
        seen.append(each.partner)
        if each.partner == "honoka":
            ask(conn, due("tsubaki"))
    assert seen == ["honoka", "tsubaki"]


def test_one_that_cannot_be_judged_stops_alone_and_its_run_hears_why(conn: Connection) -> None:
    for partner in ("honoka", "tsubaki"):
        ask(conn, due(partner))
    assert judged(conn, failing="honoka") == [("honoka", "expectation_raised"), ("tsubaki", None)]
    assert answer(conn) == Answer(state="failed", code="expectation_raised")
    assert answer(conn, "tsubaki") == Answer(state="done")


def test_a_second_process_does_nothing_while_one_judges(database: Database, conn: Connection) -> None:
    ask(conn, due())
    found = judge_due(conn, lambda _: None)
    next(found)
    other = database.connect("validate")
    ask(other, due("tsubaki"))
    assert judged(other) == []
    ended(conn)
    assert judged(other) == [("tsubaki", None)]


def die(_: Due) -> str | None:
    raise DatabaseAwayError(sqlstate="57P01")


def test_what_a_process_that_died_had_begun_is_begun_again(database: Database, conn: Connection) -> None:
    ask(conn, due())
    first = database.connect("validate")
    with pytest.raises(DatabaseAwayError):
        list(judge_due(first, die))
    ended(first)
    assert answer(conn) == Answer(state="judging")
    assert judged(conn) == [("honoka", None)]


def test_what_takes_its_process_down_never_stands_before_others_and_is_given_up(
    database: Database, conn: Connection
) -> None:
    ask(conn, due())
    for attempt in range(MOST_ATTEMPTS):
        process = database.connect("validate")
        ask(conn, due(f"p{attempt}"))
        with pytest.raises(DatabaseAwayError):
            list(judge_due(process, lambda each: die(each) if each.partner == "honoka" else None))
        ended(process)
    assert judged(conn) == []
    assert [answer(conn, f"p{attempt}") for attempt in range(MOST_ATTEMPTS)] == [Answer(state="done")] * MOST_ATTEMPTS
    assert answer(conn) == Answer(state="failed", code="shared_validation_failed")


def test_a_run_that_asks_anew_while_it_is_judged_is_not_answered_by_that_judgement(conn: Connection) -> None:
    ask(conn, due())

    def judge(each: Due) -> None:
        ask(conn, each)

    assert len(list(judge_due(conn, judge))) == 1
    assert answer(conn) == Answer(state="asked")
    assert judged(conn) == [("honoka", None)]
    assert answer(conn) == Answer(state="done")


def test_a_run_that_was_judged_and_asks_again_is_judged_again(conn: Connection) -> None:
    for _ in range(2):
        ask(conn, due())
        assert judged(conn) == [("honoka", None)]


def test_a_run_that_has_given_up_is_not_judged(conn: Connection) -> None:
    ask(conn, due())
    assert give_up(conn, partner="honoka", run_key="r1")
    assert not anything_due(conn)
    assert answer(conn) == Answer(state="given_up")
    assert not give_up(conn, partner="honoka", run_key="r1")


def test_the_waiting_task_may_look_and_change_nothing(database: Database, conn: Connection) -> None:
    ask(conn, due())
    found = asyncio.run(answer_at(database.url("run"), partner="honoka", run_key="r1"))
    assert found == Answer(state="asked")
    assert asyncio.run(answer_at(database.url("run"), partner="honoka", run_key="other")) is None


def test_what_ended_a_week_ago_goes_when_the_next_run_asks(database: Database, conn: Connection) -> None:
    ask(conn, due())
    judged(conn)
    database.admin().execute("update quality.due set ended_at = now() - interval '8 days'")
    ask(conn, due("tsubaki"))
    assert answer(conn) is None
