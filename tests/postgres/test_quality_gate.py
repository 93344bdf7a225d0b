"""Validation on real slices: what is kept from the merge, and what is only counted."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from partner_sync.errors import DataQualityError
from partner_sync.quality import validate as validation
from partner_sync.quality.suites import load_suite, parse_suite
from postgres.staged import Staged
from postgres_server import Database


@pytest.fixture
def staged(database: Database) -> Staged:
    made = Staged(database)
    made.known_office()
    return made


def problems(field: str, code: str) -> Jsonb:
    return Jsonb([{"field": field, "code": code, "critical": False}])


CRITICAL = {
    "record_readable": {"critical_problem": "birth_date:not_a_date", "birth_date": None},
    "birth_date_possible": {"birth_date": date(2093, 1, 1)},
    "office_found": {"office_key": "nowhere"},
    "name_is_a_name": {"family_name": "患者番号がありません"},
}
WARNINGS: dict[str, dict[str, Any]] = {
    "family_name_present": {"family_name": None},
    "family_kana_katakana": {"family_kana": "ﾔﾏﾀﾞ"},
    "given_kana_katakana": {"given_kana": "たろう(仮)"},
    "name_split": {"given_name": None, "problems": problems("given_name", "name_not_split")},
    "office_present": {"office_key": None},
    "validity_in_order": {"valid_to": date(2020, 3, 31)},
    "valid_after_birth": {"valid_from": date(1940, 2, 28)},
    "gender_known": {"gender": "M"},
    "gender_mapped": {"gender": None, "problems": problems("gender", "unmapped_code")},
    "postal_code_seven_digits": {"postal_code": "113002"},
    "postal_code_readable": {"postal_code": None, "problems": problems("postal_code", "not_a_postal_code")},
    "phone_number_shape": {"phone": "12345"},
    "insurer_number_check_digit": {"insurer_number": "138058"},
    "insured_number_shape": {"insured_number": "H12345678"},
    "care_level_known": {"care_level": "care_6"},
    "care_level_mapped": {"care_level": None, "problems": problems("care_level", "unmapped_code")},
    "update_not_in_future": {"source_updated_at": datetime.now(UTC) + timedelta(days=3)},
    "extra_kept": {"problems": problems("extra", "extra_left_out")},
}


@pytest.mark.parametrize("code", CRITICAL)
def test_a_record_that_fails_a_critical_expectation_waits_with_its_reason(staged: Staged, code: str) -> None:
    staged.slice([{"source_key": "good"}, {"source_key": "bad"} | CRITICAL[code]])
    (figures,) = staged.validate()
    assert (figures.evaluated, figures.quarantined, figures.waiting) == (2, 1, 1)
    assert code in staged.reasons("bad")
    assert staged.accepted() == ["good"]


def test_warnings_are_counted_and_merged(staged: Staged) -> None:
    staged.slice([{"source_key": code} | change for code, change in WARNINGS.items()])
    (figures,) = staged.validate()
    assert figures.quarantined == 0
    assert staged.accepted() == sorted(WARNINGS)
    rows = staged.database.connect("validate").execute("select expectation, source_key from quarantine.failing_key")
    found = {(row["expectation"], row["source_key"]) for row in rows}
    codes = {rule.code for rule in load_suite("patient").rules if rule.severity == "info"}
    assert {(code, code) for code in WARNINGS if code not in codes} <= found
    assert set(WARNINGS) <= set(figures.failed)


@pytest.mark.parametrize(
    "change",
    [
        {"birth_date": date(1875, 1, 1), "valid_from": None},
        {"birth_date": datetime.now(UTC).date() - timedelta(days=1), "valid_from": None},
        {"insured_number": "H123456789"},
        {"insurer_number": "33120015"},
        {"phone": "090-1234-5678"},
        {"family_kana": "ヴァン　デル・ワールス"},
        {"valid_to": date(2020, 4, 1)},
    ],
)
def test_values_at_the_right_side_of_a_bound_fail_nothing(staged: Staged, change: Mapping[str, Any]) -> None:
    staged.slice([change])
    (figures,) = staged.validate()
    assert set(figures.failed) <= {"valid_from_present"}


def test_more_failing_records_than_the_library_lists_all_wait(staged: Staged) -> None:
    staged.slice([{"source_key": f"p{n:03}", "birth_date": date(2093, 1, 1)} for n in range(45)])
    (figures,) = staged.validate()
    assert figures.quarantined == 45
    assert len(staged.quarantine()) == 45
    assert staged.accepted() == []


def test_kana_expectations_count_dirty_records_of_every_kind(staged: Staged) -> None:
    dirty = ["ﾔﾏﾀﾞ", "やまだ", "Yamada", "ヤマダ1", "ヤマダ\\u3000", "山田", "㈱", "'; --", "ヤマダ\nタロウ"]
    staged.slice([{"source_key": str(n), "family_kana": kana} for n, kana in enumerate([*dirty, "ヤマダ", None])])
    (figures,) = staged.validate()
    assert figures.failed["family_kana_katakana"] == len(dirty)
    result = staged.database.connect("validate").execute(
        "select evaluated, failed from quality.result where expectation = 'family_kana_katakana'"
    )
    assert result.fetchall() == [{"evaluated": len(dirty) + 1, "failed": len(dirty)}]


def test_a_key_with_two_contents_keeps_both_out_and_loses_neither(staged: Staged) -> None:
    staged.slice([{"source_key": "twin"}, {"source_key": "twin", "family_name": "鈴木"}, {"source_key": "good"}])
    (figures,) = staged.validate()
    assert figures.quarantined == 2
    assert staged.accepted() == ["good"]
    (row,) = staged.quarantine()
    assert [each["family_name"] for each in row["staged"]] == ["山田", "鈴木"]
    assert [each["family_name"] for each in row["raw"]] == ["山田", "鈴木"]
    assert staged.reasons("twin") == {"key_unique"}


def test_an_exact_repeat_of_a_record_counts_once(staged: Staged) -> None:
    staged.slice([{"source_key": "again"}, {"source_key": "again", "page": 2}, {"source_key": "good"}])
    (figures,) = staged.validate()
    assert (figures.evaluated, figures.quarantined) == (2, 0)
    assert staged.accepted() == ["again", "good"]


def test_records_without_a_key_wait_one_by_one(staged: Staged) -> None:
    broken = {"source_key": None, "critical_problem": "record:not_an_object"}
    staged.slice([broken | {"raw": '"text"'}, broken | {"raw": "[1]"}, broken | {"raw": "[1]", "page": 2}])
    (figures,) = staged.validate()
    assert figures.quarantined == 2
    rows = staged.quarantine()
    assert sorted(json.dumps(row["raw"]) for row in rows) == ['["text"]', "[[1]]"]
    assert all({"key_present", "record_readable"} <= {r["expectation"] for r in row["reasons"]} for row in rows)


def test_a_deletion_passes_without_judgement(staged: Staged) -> None:
    staged.slice([{"source_key": "gone", "deleted": True, "office_key": None, "family_name": None}])
    (figures,) = staged.validate()
    assert (figures.evaluated, figures.quarantined) == (0, 0)
    assert staged.accepted() == ["gone"]


def test_a_key_both_deleted_and_alive_waits(staged: Staged) -> None:
    staged.slice([{"source_key": "both"}, {"source_key": "both", "deleted": True}])
    staged.validate()
    assert staged.accepted() == []
    assert staged.reasons("both") == {"key_unique"}


def test_an_office_of_the_same_run_is_known_unless_it_waits_itself(staged: Staged) -> None:
    staged.slice([{"source_key": "new"}, {"source_key": "dim", "critical_problem": "name:too_long"}], entity="office")
    staged.slice([{"source_key": "a", "office_key": "new"}, {"source_key": "b", "office_key": "dim"}])
    staged.validate(entities=["patient", "office"])
    assert staged.accepted() == ["a"]
    assert staged.reasons("b") == {"office_found"}


def test_an_office_that_this_run_deletes_is_unknown(staged: Staged) -> None:
    staged.slice([{"source_key": "f1", "deleted": True}], entity="office")
    staged.slice([{"source_key": "a"}])
    staged.validate(entities=["office", "patient"])
    assert staged.reasons("a") == {"office_found"}


def test_offices_and_practitioners_have_their_own_expectations(staged: Staged) -> None:
    staged.slice([{"source_key": "f2", "office_number": "2875104520"}], entity="office")
    staged.slice(
        [{"source_key": "s1", "role": "wizard"}, {"source_key": "s2", "office_key": "no"}], entity="practitioner"
    )
    office, practitioner = staged.validate(entities=["office", "practitioner"])
    assert (office.entity, office.failed) == ("office", {"office_number_check_digit": 1})
    assert practitioner.failed == {"role_known": 1, "office_found": 1}
    assert staged.accepted(entity="practitioner") == ["s1"]


def test_figures_of_one_judgement_are_split_by_organization(staged: Staged) -> None:
    staged.known_office(organization="midori")
    staged.slice([{"source_key": "p1"}, {"source_key": "p2", "birth_date": date(2093, 1, 1)}])
    staged.slice(
        [{"source_key": "p1", "family_name": "別人"}, {"source_key": "p2", "phone": "1"}], organization="midori"
    )
    aoba, midori = staged.validate(organizations=["midori", "aoba", "without-slice"])
    assert (aoba.organization, aoba.evaluated, aoba.quarantined) == ("aoba", 2, 1)
    assert (midori.organization, midori.evaluated, midori.quarantined) == ("midori", 2, 0)
    assert midori.failed == {"phone_number_shape": 1}
    assert staged.accepted(organization="midori") == ["p1", "p2"]


def test_an_empty_slice_is_validated_without_a_record(staged: Staged) -> None:
    staged.slice([])
    (figures,) = staged.validate()
    assert (figures.evaluated, figures.quarantined, figures.failed) == (0, 0, {})
    assert staged.database.connect("merge").execute("select evaluated from quality.run").fetchall() == [
        {"evaluated": 0}
    ]


def test_a_slice_that_is_still_being_read_is_left_alone(staged: Staged) -> None:
    staged.slice([{"source_key": "p1"}], state="open")
    assert staged.validate() == ()
    assert staged.accepted() == []


def test_rows_that_were_read_after_the_validation_are_not_accepted(staged: Staged) -> None:
    staged.slice([{"source_key": "p1"}])
    staged.validate()
    staged.slice([{"source_key": "p1", "birth_date": date(2093, 1, 1)}])
    assert staged.accepted() == []


def test_an_expectation_that_raises_fails_the_run_and_quotes_no_value(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(json.dumps(load_suite("patient").document))
    document["expectations"][9]["type"] = "expect_column_values_to_match_regex"
    document["expectations"][9]["kwargs"] = {"column": "family_name", "regex": "山田("}
    monkeypatch.setattr(validation, "load_suite", lambda entity: parse_suite(entity, document))
    staged.slice([{"source_key": "p1", "birth_date": date(2093, 1, 1)}])
    with pytest.raises(DataQualityError) as raised:
        staged.validate()
    assert document["expectations"][9]["meta"]["code"] in str(raised.value)
    assert "山田" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert staged.quarantine() == []
    assert staged.accepted() == []


def test_reasons_hold_no_value_of_the_record(staged: Staged) -> None:
    staged.slice([{"source_key": "secret-key", "family_name": "極秘", "birth_date": date(2093, 1, 1)}])
    staged.validate()
    (row,) = staged.quarantine()
    text = json.dumps(row["reasons"], ensure_ascii=False)
    assert "birth_date_possible" in text
    assert not any(value in text for value in ("secret-key", "極秘", "2093"))
    assert set(row["reasons"][0]) == {"expectation", "column", "dimension", "severity", "owner"}


def test_the_connection_is_given_back_as_it_was(staged: Staged) -> None:
    staged.slice([{"source_key": "p1"}])
    conn = staged.database.connect("validate")
    before = conn.execute("show all").fetchall()
    validation.validate_run(conn, partner="honoka", run_key="run-1", organizations=["aoba"], entities=["patient"])
    gc.collect()
    assert conn.execute("show all").fetchall() == before
    assert conn.execute("select count(*) as n from pg_class where relpersistence = 't'").fetchall() == [{"n": 0}]
    assert conn.autocommit


@pytest.mark.parametrize("writer", ["extract", "merge", "run", "reader", "push"])
def test_only_validate_reads_and_writes_the_quarantine(database: Database, writer: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(writer).execute("select * from quarantine.row")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(writer).execute("delete from quality.run")
