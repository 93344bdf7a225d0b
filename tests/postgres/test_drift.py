"""Schema drift: fields that appear, change type or vanish against what the partner sent before."""

from __future__ import annotations

from typing import Any

import pytest

from partner_sync.errors import PartnerUnavailableError
from partner_sync.master.extract import extract_slice
from partner_sync.partners.mapping import compile_entity
from postgres.judged import JudgedBed, patients
from postgres.listings import ListedPartner, patient
from postgres_server import Database

NEW, CHANGED, VANISHED = "slice_no_new_field", "slice_no_changed_field", "slice_no_vanished_field"
AWAY = PartnerUnavailableError(partner="honoka", endpoint="GET /v1/patients", problem="503", retry_at=None)
WITHOUT_SEX = [{name: value for name, value in each.items() if name != "sex"} for each in patients(6)]


@pytest.fixture
def bed(database: Database) -> JudgedBed:
    return JudgedBed(database)


def drift(bed: JudgedBed) -> dict[str, str]:
    rows = bed.database.connect("page").execute("select path, status from report.drift where status <> 'known'")
    return {row["path"]: row["status"] for row in rows.fetchall()}


def days_later(bed: JudgedBed, days: int) -> None:
    for column in ("first_seen_at", "changed_at", "vanished_at"):
        bed.looking.execute(f"update quality.field set {column} = {column} - make_interval(days => {days})")


def test_the_first_listing_is_what_later_ones_are_compared_with(bed: JudgedBed) -> None:
    assert bed.judge_of("r1", patients(6)) == {}
    assert drift(bed) == {}
    [row] = bed.rows("select types, share, from_the_start from quality.field where path = 'name.family'")
    assert row == {"types": ["string"], "share": 1.0, "from_the_start": True}


def test_a_new_field_is_a_finding_for_seven_days_and_stays_in_the_raw_record(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    assert bed.judge_of("r2", patients(6, pets=[{"kind": "dog"}])) == {NEW: 1}
    assert drift(bed) == {"pets": "new", "pets[]": "new", "pets[].kind": "new"}
    assert bed.staged()[0]["raw"]["pets"] == [{"kind": "dog"}]
    assert bed.judge_of("r3", patients(6, pets=[{"kind": "cat"}])) == {NEW: 1}
    days_later(bed, 7)
    assert bed.judge_of("r4", patients(6, pets=[{"kind": "cat"}])) == {}


def test_another_type_is_a_finding_for_seven_days_and_then_known(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    numbered = [each | {"id": n} for n, each in enumerate(patients(6))]
    assert bed.judge_of("r2", numbered) == {CHANGED: 1}
    [row] = bed.rows("select types, changed_from from report.drift where status = 'changed'")
    assert row == {"types": ["number", "string"], "changed_from": ["string"]}
    days_later(bed, 7)
    assert bed.judge_of("r3", numbered) == {}
    assert bed.judge_of("r4", patients(6)) == {}


def test_null_is_no_type(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6, valid_to=None))
    assert bed.judge_of("r2", patients(6, valid_to="2030-01-01")) == {}
    assert bed.judge_of("r3", patients(6, valid_to=None)) == {}


def test_a_field_that_vanished_is_a_finding_until_it_is_back(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    assert bed.judge_of("r2", WITHOUT_SEX) == {VANISHED: 1}
    days_later(bed, 29)
    assert bed.judge_of("r3", WITHOUT_SEX) == {VANISHED: 1}
    assert drift(bed) == {"sex": "vanished"}
    assert bed.judge_of("r4", patients(6)) == {}


def test_a_field_that_is_gone_for_thirty_days_is_forgotten_and_new_when_it_comes_again(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    bed.judge_of("r2", WITHOUT_SEX)
    days_later(bed, 31)
    assert bed.judge_of("r3", WITHOUT_SEX) == {}
    assert bed.judge_of("r4", patients(6)) == {NEW: 1}


def test_a_rare_field_that_is_not_there_once_has_not_vanished(bed: JudgedBed) -> None:
    bed.judge_of("r1", [patient("P-0", pets=1), *patients(6)[1:]])
    assert bed.judge_of("r2", patients(6)) == {}


@pytest.mark.parametrize(("records", "told"), [(19, {}), (20, {VANISHED: 1})])
def test_an_incremental_listing_says_what_vanished_only_when_it_has_enough_records(
    bed: JudgedBed, records: int, told: dict[str, int]
) -> None:
    bed.judge_of("r1", patients(6))
    few = [WITHOUT_SEX[0] | {"id": f"P-{n}"} for n in range(records)]
    assert bed.judge_of("r2", few, mode="incremental") == told


def test_a_run_judged_twice_and_a_listing_begun_anew_count_nothing_twice(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    bed.judge_of("r2", patients(6, pets=1))
    before = bed.rows("select * from quality.field order by path")
    bed.validate("r2")
    assert bed.rows("select * from quality.field order by path") == before
    bed.looking.execute("update staging.slice set state = 'incomplete' where run_key = 'r2'")
    bed.read("r2", patients(6, pets=1))
    [row] = bed.rows("select seen from staging.slice_field where path = 'pets'")
    assert row["seen"] == 6


def test_a_listing_that_broke_off_and_goes_on_counts_each_page_once(bed: JudgedBed) -> None:
    pages: list[list[dict[str, Any]]] = [[patient(f"P-{page}{n}") for n in range(3)] for page in range(3)]
    partner = ListedPartner(pages, breaks={3: AWAY})
    mapper = compile_entity(bed.partner, "patient")
    with pytest.raises(PartnerUnavailableError):
        extract_slice(bed.extracting, bed.key("r1"), kind=partner, mapper=mapper, mode="full")
    extract_slice(bed.extracting, bed.key("r1"), kind=partner, mapper=mapper, mode="full")
    [row] = bed.rows("select seen from staging.slice_field where path = 'name.family'")
    assert row["seen"] == 9


def test_names_that_turn_out_to_be_data_are_deleted(bed: JudgedBed) -> None:
    pages = [[patient(f"P-{n}", notes={f"n{n}": 1})] for n in range(70)]
    mapper = compile_entity(bed.partner, "patient")
    extract_slice(bed.extracting, bed.key("r1"), kind=ListedPartner(pages), mapper=mapper, mode="full")
    rows = bed.rows("select path from staging.slice_field where path like 'notes.%%'")
    assert [row["path"] for row in rows] == ["notes.*"]


def test_the_finding_of_a_new_field_ends_with_an_incremental_listing_too(bed: JudgedBed) -> None:
    bed.judge_of("r1", patients(6))
    bed.judge_of("r2", patients(6, pets=1))
    query = "select closed_run_key from quality.finding where expectation = %s"
    assert bed.rows(query, NEW) == [{"closed_run_key": None}]
    days_later(bed, 7)
    bed.judge_of("r3", patients(1, pets=1), mode="incremental")
    assert bed.rows(query, NEW) == [{"closed_run_key": "r3"}]
