"""Merge, by rule: whatever the pages and their order, the canonical rows are what the partner said last."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postgres.listings import MasterBed, patient
from postgres_server import Database

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
keys = st.sampled_from([f"P-{n}" for n in range(6)])
people = st.dictionaries(keys, st.sampled_from(["山田", "佐藤", "髙橋"]), min_size=1)


@pytest.fixture
def beds(database: Database) -> Any:
    """Makes an organization of its own for each example."""
    first = MasterBed(database)
    return lambda: first.another(f"o{uuid.uuid4().hex[:12]}")


def split(records: list[Any], size: int) -> list[list[Any]]:
    return [records[start : start + size] for start in range(0, len(records), size)] or [[]]


def said(names: dict[str, str]) -> list[Any]:
    return [patient(key, family=family) for key, family in names.items()]


def names_of(bed: MasterBed) -> dict[str, str]:
    return {key: row["family_name"] for key, row in bed.canonical().items() if row["deleted_at"] is None}


@few
@given(listings=st.lists(people, min_size=1, max_size=4))
def test_every_key_has_the_record_that_came_last(beds: Any, listings: list[dict[str, str]]) -> None:
    bed, last = beds(), {}
    for number, names in enumerate(listings):
        bed.sync(f"r{number}", said(names), mode="incremental")
        last |= names
        # Incremental from the second on; the first has no watermark, so that nobody can be absent twice in full slices.
    assert names_of(bed) == last


@few
@given(names=people, changed=people, size=st.integers(1, 4))
def test_merging_a_listing_again_changes_no_row(
    beds: Any, names: dict[str, str], changed: dict[str, str], size: int
) -> None:
    bed = beds()
    bed.sync("r1", *split(said(names), size))
    bed.sync("r2", *split(said(names | changed), size))
    before = bed.canonical()
    counts = bed.sync("r3", *split(said(names | changed), size))
    assert (counts.inserted, counts.updated, counts.unchanged, counts.tombstoned) == (0, 0, len(before), 0)
    assert bed.canonical() == before


@few
@given(data=st.data(), names=people, changed=people)
def test_the_order_of_pages_makes_no_difference(
    beds: Any, data: Any, names: dict[str, str], changed: dict[str, str]
) -> None:
    pages = split(said(changed), 2)
    shuffled = data.draw(st.permutations(pages))
    results = []
    for order in (pages, shuffled):
        bed = beds()
        bed.sync("r1", said(names))
        results.append((bed.sync("r2", *order), names_of(bed)))
    assert results[0] == results[1]


@few
@given(presence=st.lists(st.booleans(), min_size=1, max_size=6))
def test_who_is_absent_from_two_full_slices_in_a_row_is_gone_and_nobody_else(beds: Any, presence: list[bool]) -> None:
    bed = beds()
    bed.sync("start", said({"P-0": "山田", "P-1": "佐藤"}))
    for number, present in enumerate(presence):
        bed.sync(f"r{number}", said({"P-0": "山田"} | ({"P-1": "佐藤"} if present else {})))
    expected = presence[-1] or presence[-2:] == [True, False] or presence == [False]
    assert ("P-1" in names_of(bed)) == expected
