"""kill -9 of the sending process, on a line that loses answers: nothing lost, nothing twice, nothing pending."""

from __future__ import annotations

import pytest

from faults.killing import Line, kills, played
from faults.released_week import Place
from judge.visit_partner import STYLES
from postgres_server import Database
from stack.bootstrap import at_database

pytestmark = pytest.mark.long
KILLS = 20


@pytest.fixture
def place(database: Database) -> Place:
    return Place(url=database.url, admin_url=at_database(database.server.admin_url(), database.name))


@pytest.mark.parametrize("style", STYLES)
def test_a_sender_that_is_killed_loses_nothing_and_sends_nothing_twice(place: Place, style: str) -> None:
    told = played(place, Line(style=style), kills(KILLS), visits=600, edits_a_second=20)
    assert told.verdict.broken == {}
    assert told.met_open_claims >= KILLS // 4
    assert told.line["lost_answers"] > 0
