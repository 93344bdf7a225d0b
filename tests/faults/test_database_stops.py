"""PostgreSQL goes away for ten seconds in the middle of a push: nothing lost, nothing twice, nothing pending."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from faults.killing import Line, Scene, played
from faults.stoppable_database import StoppableDatabase, stoppable_database

pytestmark = pytest.mark.long
AWAY_SECONDS = 10.0


@pytest.fixture(scope="module")
def database() -> Iterator[StoppableDatabase]:
    with stoppable_database() as running:
        yield running


@pytest.mark.parametrize(("number", "style", "way"), [(1, "keyed", "fast"), (2, "read_back", "immediate")])
def test_a_database_that_goes_away_loses_nothing(
    database: StoppableDatabase, number: int, style: str, way: str
) -> None:
    def disturb(scene: Scene) -> None:
        time.sleep(2)
        database.away(way, seconds=AWAY_SECONDS)
        time.sleep(2)

    told = played(database.place, Line(style=style), disturb, visits=600, edits_a_second=20, number=number)
    assert told.verdict.broken == {}
