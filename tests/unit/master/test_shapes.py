"""The shape of records: fields, types and counts; never a value, and never without bound."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.master.shapes import ALL_OF_THE_FIRST, EVERY, MAX_DEPTH, MAX_NAMES, MAX_PATHS, RECORD, Shapes

NAMES = st.sampled_from(["id", "name", "care", "@type", "tags"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(NAMES, deeper, max_size=3), max_leaves=8
)
RECORDS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=6)


def shape_of(*pages: list[Any]) -> dict[tuple[str, str], int]:
    shapes = Shapes()
    for page in pages:
        shapes.add(page)
    return dict(shapes.take()[0])


def walked(value: Any, path: str, found: Counter[tuple[str, str]], depth: int = 0) -> Counter[tuple[str, str]]:
    """The same, record by record."""
    names = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    kind = names.get(type(value)) or {dict: "object", list: "array"}[type(value)]
    found[path, kind] += 1
    if isinstance(value, dict) and depth <= MAX_DEPTH:
        for name, inner in value.items():
            walked(inner, f"{path}.{name}" if path else name, found, depth + 1)
    if isinstance(value, list) and depth <= MAX_DEPTH:
        for inner in value:
            walked(inner, f"{path}[]", found, depth + 1)
    return found


@given(RECORDS)
def test_it_is_what_a_walk_through_each_record_would_count(records: list[dict[str, Any]]) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for record in records:
        walked(record, RECORD, found)
    assert shape_of(records) == found


def test_what_is_taken_is_not_counted_again() -> None:
    shapes = Shapes()
    shapes.add([{"id": 1}])
    shapes.take()
    shapes.add([{"id": "2"}])
    assert dict(shapes.take()[0]) == {("", "object"): 1, ("id", "string"): 1}


@pytest.mark.parametrize(
    "name", ["2026-11-28", "12345", "山田太郎", "a b", "yamada@example.jp", "", "x" * 61, "a.b", "\ud800", "k\0"]
)
def test_an_object_with_a_name_that_looks_like_data_is_a_table_without_names(name: str) -> None:
    found = shape_of([{"by": {name: 1, "fine": "x"}}])
    assert found == {("", "object"): 1, ("by", "object"): 1, ("by.*", "number"): 1, ("by.*", "string"): 1}


def test_a_field_of_the_record_itself_may_have_a_japanese_name() -> None:
    assert ("氏名", "string") in shape_of([{"氏名": "x"}])


def test_a_field_of_the_record_whose_name_looks_like_data_is_kept_without_it() -> None:
    assert shape_of([{"09012345678": 1}]) == {("", "object"): 1, ("*", "number"): 1}


def test_an_object_with_ever_new_names_becomes_a_table_and_its_names_go() -> None:
    shapes = Shapes()
    shapes.add([{"by": {f"n{n}": n}} for n in range(MAX_NAMES)])
    first, dropped = shapes.take()
    assert (len(first), dropped) == (MAX_NAMES + 2, frozenset())
    shapes.add([{"by": {"n-more": {"x": True}}}])
    counts, dropped = shapes.take()
    assert dropped == {"by"}
    assert set(counts) == {("", "object"), ("by", "object"), ("by.*", "object"), ("by.*.x", "boolean")}


def test_what_an_earlier_task_found_to_be_a_table_stays_one() -> None:
    shapes = Shapes(known=["", "by", "by.*"])
    shapes.add([{"by": {"fine": 1}}])
    assert ("by.*", "number") in shapes.take()[0]


def test_there_are_never_more_paths_than_some_hundreds() -> None:
    found = shape_of([{f"f{n}": n} for n in range(MAX_PATHS + 100)])
    assert len(found) == MAX_PATHS + 1


def test_nesting_without_end_is_looked_at_to_a_depth() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = {"a": [deep]}
    assert len(shape_of([deep])) < 20


def test_what_is_no_object_is_the_mappers_matter() -> None:
    assert shape_of([None, 1, "x", [1], {"id": 1}]) == {("", "object"): 1, ("id", "number"): 1}


def test_of_a_long_listing_every_fourth_record_is_looked_at_and_told_how_many() -> None:
    pages = [[{"id": 1}] * 1000] * (ALL_OF_THE_FIRST // 1000 + 8)
    found = shape_of(*pages)
    assert found["", "object"] == found["id", "number"] == ALL_OF_THE_FIRST + 8 * 1000 // EVERY
