"""Checks across runs: the slice as a whole beside what was read before."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from partner_sync.master.guard import Guard
from partner_sync.master.slices import Terms
from postgres.judged import HOUR, JudgedBed, patients
from postgres.listings import patient
from postgres_server import Database

COUNT, STAYS = "slice_row_count", "slice_patient_with_visits_stays"


@pytest.fixture
def bed(database: Database) -> JudgedBed:
    return JudgedBed(database)


@pytest.mark.parametrize(("records", "unusual"), [(120, False), (119, True), (225, False), (226, True), (0, True)])
def test_a_full_listing_may_lose_a_fifth_or_win_a_half(bed: JudgedBed, records: int, unusual: bool) -> None:
    bed.whole("r1", patients(150))
    assert (COUNT in bed.judge_of("r2", patients(records))) is unusual


def test_a_small_organization_may_lose_or_win_twenty_records(bed: JudgedBed) -> None:
    bed.whole("r1", patients(30))
    assert COUNT not in bed.judge_of("r2", patients(10))
    assert COUNT not in bed.judge_of("r3", patients(50))
    assert COUNT in bed.judge_of("r4", patients(9))
    assert COUNT in bed.judge_of("r5", patients(51))


def test_there_is_nothing_to_compare_the_first_full_listing_or_an_incremental_one_with(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    bed.judge_of("r2", patients(1), mode="incremental")
    assert [bed.results(run)[COUNT] for run in ("r1", "r2")] == [(0, 0), (0, 0)]


def test_what_was_held_is_not_usual_and_what_was_approved_is(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    assert bed.whole("r2", patients(50), guard=Guard()).state == "held"
    assert COUNT in bed.judge_of("r3", patients(50))
    assert bed.whole("r4", patients(50), guard=Guard(approved_removed=50)).state == "merged"
    assert COUNT not in bed.judge_of("r5", patients(50))
    assert COUNT not in bed.judge_of("r6", patients(100))


def test_a_patient_with_visits_to_come_who_vanishes_or_is_deleted_is_a_finding(bed: JudgedBed) -> None:
    bed.whole("r1", patients(6))
    for key in ("P-0", "P-1"):
        bed.visit(f"v-{key}", key)
    bed.visit("v-2", "P-2", status="cancelled")
    bed.visit("v-3", "P-3", start_at=datetime.now(UTC) - 2 * HOUR)
    assert bed.judge_of("r2", [patient("P-5")])[STAYS] == 1
    assert bed.results("r2")[STAYS] == (1, 1)
    gone = bed.judge_of("r3", [patient("P-0"), {"id": "P-1", "deleted": True}, *patients(6)[2:]])
    assert gone[STAYS] == 1
    assert STAYS not in bed.judge_of("r4", patients(6))


def test_absence_is_not_read_from_a_listing_with_a_record_without_a_key(bed: JudgedBed) -> None:
    bed.whole("r1", patients(3))
    bed.visit("v-1", "P-1")
    assert STAYS not in bed.judge_of("r2", [patient("P-0"), patient(None)])
    assert STAYS not in bed.judge_of("r3", [patient("P-0")], mode="incremental")


def test_a_listing_that_reaches_what_the_partner_lists_at_most_is_not_complete(bed: JudgedBed) -> None:
    terms = Terms(most_records=5)
    bed.whole("r1", patients(4), terms=terms)
    before = bed.watermark()
    later = "2026-02-02T09:00:00+09:00"
    read = bed.read("r2", [*patients(4, updated_at=later), patient("P-9", updated_at=later)], terms=terms)
    assert (read.state, read.problem) == ("incomplete", "the partner lists 5 records at most and listed 5")
    bed.validate("r2")
    assert bed.failed("r2") == {"slice_below_cap": 1}
    assert bed.merge("r2").tombstoned == 0
    assert bed.watermark() == before
    assert bed.rows("select from canonical.crosswalk where absent_since_run_key is not null") == []


def test_a_listing_below_the_most_or_from_a_partner_without_one_is_complete(bed: JudgedBed) -> None:
    assert bed.read("r1", patients(4), terms=Terms(most_records=5)).state == "complete"
    assert bed.read("r2", patients(5)).state == "complete"


def test_data_whose_newest_change_is_too_old_are_a_finding(bed: JudgedBed) -> None:
    hours = Terms(fresh_within_hours=10)
    at = {n: (datetime.now(UTC) - timedelta(hours=n)).isoformat() for n in (9, 11)}
    assert bed.judge_of("r1", [patient("P-1", updated_at=at[11])], terms=hours) == {"slice_fresh": 1}
    assert bed.judge_of("r2", [patient("P-1", updated_at=at[9])], terms=hours) == {}
    assert bed.judge_of("r3", [patient("P-1", updated_at=at[11])]) == {}
    assert bed.results("r3")["slice_fresh"] == (0, 0)


def test_nothing_sent_for_too_long_is_a_finding_and_nothing_sent_in_time_is_not_judged(bed: JudgedBed) -> None:
    old = (datetime.now(UTC) - 11 * HOUR).isoformat()
    bed.whole("r1", [patient("P-1", updated_at=old)])
    assert bed.judge_of("r2", [], mode="incremental", terms=Terms(fresh_within_hours=10)) == {"slice_fresh": 1}
    bed.judge_of("r3", [], mode="incremental", terms=Terms(fresh_within_hours=12))
    assert bed.results("r3") == {}


def test_a_total_that_disagrees_is_a_finding(bed: JudgedBed) -> None:
    assert bed.judge_of("r1", patients(3), total=4) == {"slice_total_agrees": 1}
    assert bed.judge_of("r2", patients(3), total=3) == {}


def test_a_second_validation_of_a_run_gives_the_same_results(bed: JudgedBed) -> None:
    bed.whole("r1", patients(100))
    bed.judge_of("r2", patients(50))
    before = bed.results("r2")
    bed.validate("r2")
    assert bed.results("r2") == before
    assert before[COUNT] == (1, 1)


def test_a_run_that_was_sent_nothing_and_expects_nothing_does_not_load_the_library(bed: JudgedBed) -> None:
    bed.whole("r1", patients(1))
    bed.read("r2", [], mode="incremental")
    info = bed.validating.info
    program = (
        "import sys; from partner_sync.database import connect; from partner_sync.quality.validate import validate_run;"
        f"conn = connect({info.dsn + f' password={info.password}'!r});"
        "validate_run(conn, partner='honoka', run_key='r2', organizations=['sakura-care'], entities=['patient']);"
        "print('great_expectations' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": "include"}
    )
    assert found.stdout.strip() == "False"
