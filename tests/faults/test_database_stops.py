"""PostgreSQL goes away for ten seconds in the middle of a push: nothing lost, nothing twice, nothing pending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.killing import Line, goes_away, played
from faults.stoppable_database import StoppableDatabase, stoppable_database

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def database() -> Iterator[StoppableDatabase]:
    with stoppable_database() as running:
        yield running


@pytest.mark.parametrize(("number", "style", "way"), [(1, "keyed", "fast"), (2, "read_back", "immediate")])
def test_a_database_that_goes_away_loses_nothing(
    database: StoppableDatabase, number: int, style: str, way: str
) -> None:
    disturb = goes_away(lambda: database.away(way, seconds=10.0))
    told = played(database.place, Line(style=style), disturb, visits=600, edits_a_second=20, number=number)
    assert told.verdict.broken == {}
