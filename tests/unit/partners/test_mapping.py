"""Records mapped to the columns of staging; what does not fit is named and never quoted."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_made import made
from partner_sync.partners.converters import is_critical
from partner_sync.partners.fields import CANONICAL, columns
from partner_sync.partners.mapping import FieldProblem, MappedRecord, RecordMapper, compile_entity

ENTITY: dict[str, Any] = {
    "map": {
        "office": "office.id",
        "family_name": "name",
        "birth_date": {"from": "birth", "convert": "date"},
        "care_level": {"from": "care.now.level", "convert": "code_map", "codes": "care_level"},
        "active": {"convert": "constant", "value": True},
    },
    "incremental": {"parameter": "since", "field": "changed"},
    "deleted_when": {"from": "deleted", "equals": [True]},
    "extra": ["blood", "care.note"],
}
GOOD: dict[str, Any] = {
    "id": "P-1",
    "office": {"id": 7},
    "name": "山田",
    "birth": "1938-04-05",
    "care": {"now": {"level": "21"}, "note": ["x"]},
    "changed": "2026-11-23T09:00:00+09:00",
    "blood": "A",
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(alphabet="a山\0 1-", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(GOOD)), inner, max_size=5),
    max_leaves=8,
)


def mapper() -> RecordMapper:
    return compile_entity(made(entity=ENTITY), "patient")


def values(mapped: MappedRecord) -> dict[str, Any]:
    return dict(zip(columns("patient"), mapped.values, strict=True))


def problems(**changes: Any) -> tuple[FieldProblem, ...]:
    return mapper().map({**GOOD, **changes}).problems


def test_a_good_record_is_canonical_in_column_order() -> None:
    mapped = mapper().map(GOOD)
    assert (mapped.key, mapped.deleted, mapped.problems) == ("P-1", False, ())
    assert mapped.source_updated_at == datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
    assert mapped.extra == {"blood": "A", "care.note": ["x"]}
    filled = {name: value for name, value in values(mapped).items() if value is not None}
    assert filled == {
        "office_key": "7", "family_name": "山田", "birth_date": date(1938, 4, 5), "care_level": "care_1",
        "active": True,
    }  # fmt: skip


def test_the_columns_are_those_of_staging() -> None:
    assert columns("office") == ("office_number", "name", "kana", "postal_code", "address", "phone", "active")
    assert columns("practitioner")[:2] == ("office_key", "family_name")
    assert len(columns("patient")) == 18
    assert all(len(columns(entity)) == len(set(columns(entity))) for entity in CANONICAL)


@pytest.mark.parametrize("record", [None, 7, "text", [GOOD], True])
def test_a_record_that_is_no_object_is_one_critical_problem(record: object) -> None:
    mapped = mapper().map(record)
    assert mapped.key is None
    assert mapped.problems == (FieldProblem("record", "not_an_object", critical=True),)
    assert len(mapped.values) == len(columns("patient"))


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "missing"), ("", "missing"), ("  ", "missing"), (1.0, "not_text"), (True, "not_text"), ({}, "not_text"),
     ("a\0b", "nul_character"), ("x" * 1001, "too_long")],
)  # fmt: skip
def test_a_key_that_is_none_is_a_critical_problem(key: Any, code: str) -> None:
    mapped = mapper().map({**GOOD, "id": key})
    assert mapped.key is None
    assert mapped.problems == (FieldProblem("key", code, critical=True),)


def test_only_a_number_that_is_no_key_may_lack_every_digit() -> None:
    """A wrong number keeps nobody out; a key or a reference that nobody can read does."""
    fields = ("insurer_number", "insured_number", "office_number", "license_number", "phone")
    assert not any(is_critical(field, "not_digits") for field in fields)
    assert is_critical("office", "not_digits")
    assert is_critical("insurer_number", "nul_character")


def test_a_whole_number_is_taken_as_a_key() -> None:
    assert mapper().map({**GOOD, "id": 12}).key == "12"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": 7}, FieldProblem("family_name", "not_text", critical=True)),
        ({"name": "a\0"}, FieldProblem("family_name", "nul_character", critical=True)),
        ({"name": "x" * 10_000_000}, FieldProblem("family_name", "too_long", critical=True)),
        ({"birth": "1938-02-30"}, FieldProblem("birth_date", "not_a_date", critical=True)),
        ({"care": {"now": {"level": "99"}}}, FieldProblem("care_level", "unmapped_code", critical=False)),
        ({"changed": "soon"}, FieldProblem("source_updated_at", "not_a_time", critical=False)),
        ({"blood": "a\0"}, FieldProblem("extra", "extra_left_out", critical=False)),
        ({"blood": "x" * 20_000}, FieldProblem("extra", "extra_left_out", critical=False)),
    ],
)
def test_a_field_that_does_not_fit_is_empty_and_named(changes: dict[str, Any], problem: FieldProblem) -> None:
    mapped = mapper().map({**GOOD, **changes})
    assert mapped.problems == (problem,)
    assert mapped.key == "P-1"
    assert values(mapped).get(problem.field) is None


@pytest.mark.parametrize(
    ("birth", "day"),
    [
        ("昭和65年1月1日", date(1990, 1, 1)),
        ("Ｓ６５．１．１", date(1990, 1, 1)),
        ("3650101", date(1990, 1, 1)),
        (3650101, date(1990, 1, 1)),
        ("昭和64年1月8日", date(1989, 1, 8)),
        ("大正15年12月25日", date(1926, 12, 25)),
        ("平成31年5月1日", date(2019, 5, 1)),
        ("M46.1.1", date(1913, 1, 1)),
    ],
)
def test_a_birth_in_a_year_that_its_era_did_not_have_is_kept_and_noted(birth: object, day: date) -> None:
    mapped = mapper().map({**GOOD, "birth": birth})
    assert values(mapped)["birth_date"] == day
    assert mapped.problems == (FieldProblem("birth_date", "after_its_era", critical=False),)


@pytest.mark.parametrize(
    ("birth", "day"),
    [
        ("昭和64年1月7日", date(1989, 1, 7)),
        ("平成元年1月8日", date(1989, 1, 8)),
        ("昭和元年12月25日", date(1926, 12, 25)),
        ("令和元年5月1日", date(2019, 5, 1)),
        ("平成31年4月30日", date(2019, 4, 30)),
        ("3130405", date(1938, 4, 5)),
        ("19900101", date(1990, 1, 1)),
        ("１９９０年１月１日", date(1990, 1, 1)),
    ],
)
def test_a_birth_within_its_era_is_no_problem(birth: str, day: date) -> None:
    mapped = mapper().map({**GOOD, "birth": birth})
    assert (values(mapped)["birth_date"], mapped.problems) == (day, ())


@pytest.mark.parametrize("birth", ["昭和元年12月24日", "平成元年1月7日", "令和元年4月30日", "昭和0年1月1日", "3000101"])
def test_a_birth_before_its_era_is_no_date(birth: str) -> None:
    mapped = mapper().map({**GOOD, "birth": birth})
    assert mapped.problems == (FieldProblem("birth_date", "not_a_date", critical=True),)


def test_another_date_than_a_birth_may_lie_after_its_era() -> None:
    section = {**ENTITY, "map": {**ENTITY["map"], "valid_to": {"from": "until", "convert": "date"}}}
    mapped = compile_entity(made(entity=section), "patient").map({**GOOD, "until": "平成35年3月31日"})
    assert (values(mapped)["valid_to"], mapped.problems) == (date(2023, 3, 31), ())


def nested(depth: int) -> Any:
    return orjson.loads("[" * depth + "]" * depth)


def test_an_extra_field_that_is_nested_beyond_writing_is_left_out() -> None:
    assert problems(blood=nested(900)) == (FieldProblem("extra", "extra_left_out", critical=False),)


def test_several_problems_of_a_record_come_together() -> None:
    assert {problem.field for problem in problems(name=7, birth="x")} == {"family_name", "birth_date"}


def test_a_path_through_something_else_is_nothing() -> None:
    assert problems(office="O-1", care=[1]) == ()


def test_a_tombstone_needs_its_key_only() -> None:
    mapped = mapper().map({"id": "P-1", "deleted": True, "name": 7})
    assert (mapped.key, mapped.deleted, mapped.problems) == ("P-1", True, ())


@pytest.mark.parametrize("said", [1, "true", None, False])
def test_only_the_very_value_means_deleted(said: Any) -> None:
    assert not mapper().map({**GOOD, "deleted": said}).deleted


def test_a_problem_is_data() -> None:
    assert problems(birth="x")[0].as_json() == {"field": "birth_date", "code": "not_a_date", "critical": True}


@given(JSON)
def test_any_json_is_mapped_without_raising_and_without_nul(record: Any) -> None:
    mapped = mapper().map(record)
    texts = [value for value in (mapped.key, *mapped.values) if isinstance(value, str)]
    assert not [text for text in texts if "\0" in text or not text]
    assert mapped.key is not None or any(problem.critical for problem in mapped.problems)


def test_a_partner_without_the_entity_has_no_mapper() -> None:
    with pytest.raises(KeyError):
        compile_entity(made(), "office")
