"""Notices of new work: heard from a real PostgreSQL, a burst told together, a lost connection said."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.database import Connection
from partner_sync.errors import DatabaseAwayError
from partner_sync.listening import CHANNEL, GATHER_SECONDS, Gathered, partners_with_work
from postgres_server import Database

LISTENERS = "from pg_stat_activity where datname = current_database() and query like 'listen%'"


async def _until_somebody_listens(admin: Connection) -> None:
    while not admin.execute(f"select {LISTENERS}").fetchall():  # type: ignore[call-overload]  # a constant
        await asyncio.sleep(0.02)


async def _first(url: str, database: Database, notices: list[str], *, count: int) -> list[tuple[str, float]]:
    stream = partners_with_work(url)
    told: list[tuple[str, float]] = []

    async def listen() -> None:
        async for partner in stream:
            told.append((partner, time.monotonic()))
            if len(told) == count:
                return

    listening = asyncio.create_task(listen())
    await _until_somebody_listens(database.admin())
    sender = database.connect("product")
    for payload in notices:
        sender.execute("select pg_notify(%s, %s)", (CHANNEL, payload))
        await asyncio.sleep(0.02)
    await asyncio.wait_for(listening, 10)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    return told


def test_a_notice_is_told_at_once_and_the_rest_of_a_burst_together(database: Database) -> None:
    began = time.monotonic()
    told = asyncio.run(_first(database.url("run"), database, ["honoka"] * 20, count=2))
    assert [partner for partner, _ in told] == ["honoka", "honoka"]
    assert told[1][1] - told[0][1] >= GATHER_SECONDS * 0.9
    assert told[1][1] - began < 9


def test_each_partner_is_told_of_on_its_own(database: Database) -> None:
    told = asyncio.run(_first(database.url("run"), database, ["honoka", "tsubaki"], count=2))
    assert {partner for partner, _ in told} == {"honoka", "tsubaki"}
    assert abs(told[1][1] - told[0][1]) < GATHER_SECONDS


def test_a_lost_connection_is_said_and_not_waited_out(database: Database) -> None:
    async def lose() -> None:
        stream = partners_with_work(database.url("run"))
        waiting = asyncio.ensure_future(anext(stream))
        admin = database.admin()
        while not admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%%'"
        ).fetchall():
            await asyncio.sleep(0.02)
        await asyncio.wait_for(waiting, 5)

    with pytest.raises(DatabaseAwayError):
        asyncio.run(lose())


@given(st.sets(st.integers(0, 300)))
def test_whatever_is_heard_is_told_within_the_gathering_time_and_never_twice_in_it(heard_at: set[int]) -> None:
    gathered, told = Gathered(gather_seconds=20), []
    for at in range(400):
        if at in heard_at:
            gathered.hear("honoka")
        told += [at for _ in gathered.due(at)]
    assert all(later - earlier >= 20 for earlier, later in pairwise(told))
    assert all(any(at <= moment <= at + 20 for moment in told) for at in heard_at)
