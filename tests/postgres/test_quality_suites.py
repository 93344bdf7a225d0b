"""The whole suites on dirty records: what fails is what fails in Python, and our counts are the library's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from partner_sync.errors import DataQualityError
from partner_sync.partners.converters import NOT_CRITICAL, NUMBERS
from partner_sync.partners.fields import CANONICAL, ENTITY_ORDER, Entity
from partner_sync.quality.suites import load_suite
from postgres import value_rules
from postgres.staged import Staged
from postgres.value_rules import DIRT
from postgres_server import Database

#: By expectation: its column, and the rule that a value keeps.
RULES: dict[Entity, dict[str, tuple[str, Callable[[str], bool]]]] = {
    "office": {
        "kana_katakana": ("kana", value_rules.is_kana),
        "office_number_check_digit": ("office_number", value_rules.is_office_number),
        "postal_code_seven_digits": ("postal_code", value_rules.is_postal_code),
        "phone_number_shape": ("phone", value_rules.is_phone_number),
    },
    "practitioner": {
        "family_kana_katakana": ("family_kana", value_rules.is_kana),
        "given_kana_katakana": ("given_kana", value_rules.is_kana),
    },
    "patient": {
        "family_kana_katakana": ("family_kana", value_rules.is_kana),
        "given_kana_katakana": ("given_kana", value_rules.is_kana),
        "postal_code_seven_digits": ("postal_code", value_rules.is_postal_code),
        "phone_number_shape": ("phone", value_rules.is_phone_number),
        "insurer_number_check_digit": ("insurer_number", value_rules.is_insurer_number),
        "insured_number_shape": ("insured_number", value_rules.is_insured_number),
        "no_test_patient": ("family_name", value_rules.is_no_test_person),
        "name_is_a_name": ("family_name", lambda text: "患者番号がありません" not in text),
    },
}
MORE = (
    "テスト",
    "ＴＥＳＴ患者",
    "患者番号がありません",
    "*** 患者番号がありません ***",
    "山田",
    "1130021",
    "138057",
    "03-1234-5678",
)


@pytest.fixture
def staged(database: Database) -> Staged:
    made = Staged(database)
    made.known_office()
    return made


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_the_whole_suite_on_dirty_records_fails_what_fails_in_python(staged: Staged, entity: Entity) -> None:
    # validate() compares every count with the library's, and raises when one differs.
    texts = [name.column for name in CANONICAL[entity] if name.type == "text"]
    dirty = {f"{column}-{n}": (column, text) for column, (n, text) in product(texts, enumerate((*DIRT, *MORE)))}
    staged.goes_to_files()
    staged.slice([{"source_key": key, column: text} for key, (column, text) in dirty.items()], entity=entity)
    (found,) = staged.validate(entities=[entity])
    assert found.evaluated == len(dirty)
    for code, (column, fits) in RULES[entity].items():
        expected = {key for key, (name, text) in dirty.items() if name == column and not fits(text)}
        assert staged.failing(code) == expected, code
    named = [column for column in texts if "name" in column or "kana" in column]
    expected = {key for key, (name, text) in dirty.items() if name in named and not value_rules.fits_cp932(text)}
    assert staged.failing("name_fits_cp932") == expected


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_every_problem_that_keeps_a_record_in_is_judged(staged: Staged, entity: Entity) -> None:
    """A problem that is not critical is seen by an expectation, whatever field it is about."""
    noted = {
        "unmapped_code": [
            name.name for name in CANONICAL[entity] if name.type == "text" and name.name != "postal_code"
        ],
        "name_not_split": [name.name for name in CANONICAL[entity] if name.name.startswith(("family", "given"))],
        "not_a_postal_code": ["postal_code"] if entity != "practitioner" else [],
        "not_a_time": ["source_updated_at"],
        "extra_left_out": ["extra"],
        "after_its_era": ["birth_date"] if entity == "patient" else [],
    }
    assert set(noted) == NOT_CRITICAL
    noted["not_digits"] = [name.name for name in CANONICAL[entity] if name.name in NUMBERS]
    pairs = [(field, code) for code, fields in noted.items() for field in fields]
    rows = [
        {"source_key": f"{field}:{code}", "problems": Jsonb([{"field": field, "code": code, "critical": False}])}
        for field, code in pairs
    ]
    staged.slice([*rows, {"source_key": "other:not_a_code"}], entity=entity)
    staged.validate(entities=[entity])
    rows_found = (
        staged.database.connect("validate")
        .execute(
            "select expectation, failed from quality.result where failed > 0 and expectation <> all (%s)",
            ([rule.code for rule in load_suite("slice").rules],),
        )
        .fetchall()
    )
    assert sum(row["failed"] for row in rows_found) == len(pairs)


@pytest.mark.parametrize(
    ("code", "good", "bad"),
    [
        ("birth_date_possible", {"birth_date": date(1875, 1, 1)}, {"birth_date": date(1874, 12, 31)}),
        ("validity_in_order", {"valid_to": date(2020, 4, 1)}, {"valid_to": date(2020, 3, 31)}),
        ("validity_in_order", {"valid_from": None, "valid_to": date(1990, 1, 1)}, {"valid_to": date(1990, 1, 1)}),
        ("valid_after_birth", {"valid_from": date(1940, 2, 29)}, {"valid_from": date(1940, 2, 28)}),
        ("valid_after_birth", {"birth_date": None, "valid_from": date(1800, 1, 1)}, {"valid_from": date(1800, 1, 1)}),
        ("care_level_known", {"care_level": "project_target"}, {"care_level": "06"}),
        ("gender_known", {"gender": "unknown"}, {"gender": ""}),
        ("insurance_complete", {"insurer_number": None, "insured_number": None}, {"insured_number": None}),
        ("update_not_in_future", {"source_updated_at": datetime.now(UTC) + timedelta(hours=20)},
         {"source_updated_at": datetime.now(UTC) + timedelta(hours=28)}),
    ],
)  # fmt: skip
def test_both_sides_of_a_bound(staged: Staged, code: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    staged.slice([{"source_key": "good"} | good, {"source_key": "bad"} | bad])
    (found,) = staged.validate()
    assert found.failed[code] == 1
    if code in {rule.code for rule in load_suite("patient").rules if rule.severity != "info"}:
        assert staged.failing(code) == {"bad"}


def test_today_is_a_possible_birth_date_and_tomorrow_is_not(staged: Staged) -> None:
    row = staged.database.admin().execute("select (now() at time zone 'Asia/Tokyo')::date as today").fetchone() or {}
    days = {"today": row["today"], "tomorrow": row["today"] + timedelta(days=1)}
    staged.slice([{"source_key": key, "birth_date": day, "valid_from": None} for key, day in days.items()])
    staged.validate()
    assert staged.failing("birth_date_possible") == {"tomorrow"}


def test_characters_of_files_are_judged_for_organizations_with_an_enabled_schedule_link_only(staged: Staged) -> None:
    for organization in ("midori", "sakura", "hinata"):
        staged.known_office(organization=organization)
    staged.goes_to_files("midori")
    staged.goes_to_files("sakura", enabled=False)
    staged.goes_to_files("hinata", directions=["master"])
    names = ["aoba", "midori", "sakura", "hinata"]
    for organization in names:
        staged.slice([{"family_name": "𠮷田", "street": "丸の内😀"}, {"source_key": "p2"}], organization=organization)
    found = {each.organization: each.failed for each in staged.validate(organizations=names)}
    assert found == {"midori": {"name_fits_cp932": 1, "address_fits_cp932": 1}, "aoba": {}, "sakura": {}, "hinata": {}}
    assert len(staged.accepted(organization="midori")) == 2
    rows = staged.database.connect("validate").execute(
        "select organization, evaluated from quality.result where expectation = 'name_fits_cp932' order by 1"
    )
    assert [tuple(row.values()) for row in rows] == [("aoba", 0), ("hinata", 0), ("midori", 2), ("sakura", 0)]


def test_one_certificate_at_two_patients_is_counted_at_both_and_a_repeated_record_is_not(staged: Staged) -> None:
    staged.known_office(organization="midori")
    one, other = {"insured_number": "0000000001"}, {"insured_number": "0000000002"}
    rows = [{"source_key": "a"} | one, {"source_key": "b"} | one, {"source_key": "c"} | other]
    rows += [{"source_key": "c"} | other, {"source_key": "d", "insurer_number": None}]
    staged.slice([*rows, {"source_key": "e", "insurer_number": "33120015"} | one])
    staged.slice([{"source_key": "f"} | other], organization="midori")
    staged.validate(organizations=["aoba", "midori"])
    assert staged.failing("insured_once") == {"a", "b"}
    assert len(staged.accepted()) == 5


def test_a_custom_expectation_that_raises_fails_the_run(staged: Staged) -> None:
    staged.slice([{"source_key": "p1", "birth_date": date(2093, 1, 1)}])
    staged.database.admin().execute("drop function quality.kana_ok")
    with pytest.raises(DataQualityError) as raised:
        staged.validate()
    assert "family_kana_katakana" in str(raised.value)
    assert raised.value.__cause__ is None
    assert staged.quarantine() == []
    assert staged.accepted() == []


def test_a_judged_record_is_good_in_every_entity(staged: Staged) -> None:
    staged.goes_to_files()
    for entity in ENTITY_ORDER:
        staged.slice([{}], entity=entity)
    found = staged.validate(entities=ENTITY_ORDER)
    assert [each.failed for each in found] == [{}, {}, {}]
