"""A run that is judged again after a newer one has listed the same: it must not touch what the newer one has judged."""

from __future__ import annotations

from datetime import date

import pytest

from postgres.staged import Staged
from postgres_server import Database

TOO_OLD = date(1800, 1, 1)


@pytest.fixture
def staged(database: Database) -> Staged:
    made = Staged(database)
    made.known_office()
    return made


def test_an_older_run_that_is_judged_again_lets_nothing_of_a_newer_one_into_the_merge(staged: Staged) -> None:
    staged.slice([{"source_key": "p1"}], run_key="run-1")
    staged.validate("run-1")
    staged.merged("run-1")
    staged.slice([{"source_key": "p1", "birth_date": TOO_OLD}, {"source_key": "p2"}], run_key="run-2")
    staged.validate("run-2")
    assert staged.accepted("run-2") == ["p2"]
    staged.validate("run-1")
    assert staged.accepted("run-2") == ["p2"]


def test_an_older_run_that_is_judged_again_takes_no_record_from_a_newer_one(staged: Staged) -> None:
    staged.slice([{"source_key": "p1", "office_key": "f9"}], run_key="run-1")
    staged.validate("run-1")
    staged.merged("run-1")
    staged.known_office("f9")
    staged.slice([{"source_key": "p2"}], run_key="run-2", mode="incremental")
    staged.validate("run-2")
    assert staged.accepted("run-2") == ["p1", "p2"]
    staged.validate("run-1")
    assert staged.accepted("run-2") == ["p1", "p2"]
