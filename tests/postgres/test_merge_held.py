"""Merges that wait for a person: the number of records, patients with visits, what is kept, and what a yes covers."""

from __future__ import annotations

from typing import Any

import pytest

from partner_sync.master.guard import Guard, Held
from partner_sync.master.merge import held_since
from postgres.judged import JudgedBed, patients
from postgres.listings import UNGUARDED
from postgres_server import Database


@pytest.fixture
def bed(database: Database) -> JudgedBed:
    return JudgedBed(database)


def held(bed: JudgedBed, run_key: str, records: Any, **values: Any) -> Held:
    done = bed.whole(run_key, records, **{"guard": Guard()} | values)
    assert (done.state, done.held is not None) == ("held", True)
    assert done.held is not None
    return done.held


def cause(bed: JudgedBed, run_key: str, found: Held) -> str:
    return held_since(bed.merging, bed.key(run_key), found)


def test_a_full_listing_with_unusually_few_records_is_held_before_anything_is_removed(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    found = held(bed, "r2", patients(79))
    assert (found.why, found.fewer, found.removed, found.live) == (("records",), 21, 0, 100)
    assert bed.rows("select from canonical.crosswalk where absent_since_run_key is not null") == []


def test_a_full_listing_with_unusually_many_records_is_held(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    found = held(bed, "r2", patients(151))
    assert (found.why, found.more) == (("records",), 51)
    assert len(bed.canonical()) == 100


def test_a_yes_to_the_figures_lets_the_same_listing_through(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    held(bed, "r2", patients(79))
    approved = Guard(approved_removed=21, approved_visits=0)
    assert bed.whole("r3", patients(79), guard=approved).state == "merged"


def test_a_patient_with_visits_to_come_is_not_removed_without_a_yes(bed: JudgedBed) -> None:
    bed.whole("r1", patients(3))
    bed.visit("v1", "P-1")
    bed.visit("v2", "P-1")
    gone = [*patients(1), patients(3)[2]]
    assert bed.whole("r2", gone, guard=Guard()).state == "merged"
    found = held(bed, "r3", gone)
    assert (found.why, found.with_visits, found.removed) == (("visits",), 1, 1)
    assert bed.canonical()["P-1"]["deleted_at"] is None
    assert bed.whole("r4", gone, guard=Guard(approved_removed=1, approved_visits=1)).tombstoned == 1


def test_a_patient_whose_visits_are_over_or_cancelled_is_removed_as_usual(bed: JudgedBed) -> None:
    bed.whole("r1", patients(3))
    bed.visit("v1", "P-1", status="cancelled")
    done = bed.whole("r2", [*patients(1), {"id": "P-1", "deleted": True}, patients(3)[2]], guard=Guard())
    assert (done.state, done.tombstoned) == ("merged", 1)


def test_what_was_held_keeps_its_figures_and_a_sample_of_our_own_ids(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    before = bed.canonical()
    deleted = [{"id": f"P-{n}", "deleted": True} for n in range(70, 95)]
    sent = [*patients(70, family="佐藤"), *deleted, *patients(100)[95:]]
    found = held(bed, "r2", sent)
    assert (found.why, found.changed, found.removed) == (("changed", "removed"), 70, 25)
    ids = [sorted(before[f"P-{n}"]["id"] for n in numbers)[:20] for numbers in (range(70), range(70, 95))]
    assert [list(found.changed_ids), list(found.removed_ids)] == ids
    assert bed.canonical() == before
    [kept] = bed.rows("select held from canonical.slice_merge where run_key = 'r2'")
    assert Held.from_json(kept["held"]) == found
    assert bed.merge("r2").held == found


def test_new_rows_are_not_in_the_sample_of_changed_ones(bed: JudgedBed) -> None:
    bed.whole("r1", patients(30))
    found = held(bed, "r2", patients(60, family="佐藤"))
    ids = {row["id"] for row in bed.canonical().values()}
    assert len(ids) == 30
    assert set(found.changed_ids) <= ids


def test_a_slice_that_is_held_each_quarter_of_an_hour_is_one_cause(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    for run_key in ("r2", "r3", "r4"):
        assert cause(bed, run_key, held(bed, run_key, patients(50))) == "r2"
    grown = held(bed, "r5", patients(40))
    assert cause(bed, "r5", grown) == "r5"


def test_a_good_merge_of_the_same_kind_ends_a_cause_and_another_kind_does_not(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    held(bed, "r2", patients(50))
    bed.whole("r3", patients(1), mode="incremental")
    assert cause(bed, "r4", held(bed, "r4", patients(50))) == "r2"
    bed.whole("r5", patients(100), guard=UNGUARDED)
    assert cause(bed, "r6", held(bed, "r6", patients(50))) == "r6"
