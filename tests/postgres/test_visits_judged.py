"""Checks across entities: visits to come beside the patients and practitioners that they name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from postgres.judged import HOUR, JudgedBed, patients, staff
from postgres_server import Database

TOMORROW = datetime.now(UTC) + 24 * HOUR


@pytest.fixture
def bed(database: Database) -> JudgedBed:
    made = JudgedBed(database)
    made.whole("before", patients(3))
    made.whole("before", [staff("S-1"), staff("S-2")], entity="practitioner")
    return made


def judged(bed: JudgedBed, run_key: str = "r1", *, patients_: object = None, staff_: object = None) -> dict[str, int]:
    """What the visits fail in a run that lists both anew."""
    bed.read(run_key, patients(3) if patients_ is None else patients_)
    bed.read(run_key, [staff("S-1"), staff("S-2")] if staff_ is None else staff_, entity="practitioner")
    bed.validate(run_key, "practitioner", "patient")
    return bed.failed(run_key, "visit")


def test_a_visit_that_agrees_with_its_masters_fails_nothing(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1", "S-1")
    bed.visit("v2", "P-2")
    assert judged(bed) == {}
    assert bed.results("r1", "visit")["visit_patient_known"] == (2, 0)
    assert bed.results("r1", "visit")["visit_practitioner_known"] == (1, 0)


def test_a_visit_whose_practitioner_this_very_run_makes_inactive_is_a_finding(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1", "S-1")
    bed.visit("v2", "P-1", "S-2", start_at=TOMORROW + 3 * HOUR)
    assert judged(bed, staff_=[staff("S-1", active=False), staff("S-2")]) == {"visit_practitioner_active": 1}


def test_a_visit_whose_patient_is_inactive_or_gone_is_a_finding(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1")
    bed.visit("v2", "P-2")
    sent = [*patients(1), patients(2, active=False)[1], {"id": "P-2", "deleted": True}]
    assert judged(bed, patients_=sent) == {"visit_patient_active": 1, "visit_patient_known": 1}


@pytest.mark.parametrize(("days", "failing"), [(0, {}), (-1, {"visit_patient_valid": 1})])
def test_a_visit_lies_within_the_validity_period_last_day_included(
    bed: JudgedBed, days: int, failing: dict[str, int]
) -> None:
    noon = datetime.now(UTC).replace(hour=3, minute=0) + timedelta(days=2)
    bed.visit("v1", "P-1", start_at=noon)
    last = (noon + timedelta(days=days)).date().isoformat()
    sent = patients(3)
    sent[1]["valid_to"] = last
    assert judged(bed, patients_=sent) == failing


def test_visits_of_one_practitioner_that_overlap_all_fail_and_those_that_touch_do_not(bed: JudgedBed) -> None:
    bed.visit("long", "P-0", "S-1", start_at=TOMORROW, end_at=TOMORROW + 4 * HOUR)
    bed.visit("inside", "P-1", "S-1", start_at=TOMORROW + HOUR)
    bed.visit("later", "P-2", "S-1", start_at=TOMORROW + 3 * HOUR)
    bed.visit("touches", "P-1", "S-1", start_at=TOMORROW + 4 * HOUR)
    bed.visit("other", "P-1", "S-2", start_at=TOMORROW + HOUR)
    bed.visit("nobody", "P-1", start_at=TOMORROW + HOUR)
    bed.visit("cancelled", "P-1", "S-2", start_at=TOMORROW + HOUR, status="cancelled")
    assert judged(bed) == {"visit_alone": 3}
    keys = bed.rows("select source_key from quarantine.failing_key where entity = 'visit' order by 1")
    assert [row["source_key"] for row in keys] == ["inside", "later", "long"]


def test_only_visits_to_come_are_judged(bed: JudgedBed) -> None:
    bed.visit("past", "P-1", "S-1", start_at=datetime.now(UTC) - 2 * HOUR)
    bed.visit("cancelled", "P-1", "S-1", status="cancelled")
    assert judged(bed, staff_=[staff("S-1", active=False), staff("S-2")]) == {}
    assert bed.results("r1", "visit") == {}


def test_a_visit_that_was_mended_is_no_longer_kept_as_failing(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1", "S-1")
    judged(bed, staff_=[staff("S-1", active=False)])
    assert len(bed.rows("select from quarantine.failing_key where entity = 'visit'")) == 1
    assert judged(bed, "r2") == {}
    assert bed.rows("select from quarantine.failing_key where entity = 'visit'") == []


def test_visits_are_counted_and_never_quarantined(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1", "S-1")
    judged(bed, staff_=[staff("S-1", active=False)])
    [run] = bed.rows(
        "select evaluated, quarantined, waiting from quality.run where entity = 'visit' and run_key = 'r1'"
    )
    assert run == {"evaluated": 1, "quarantined": 0, "waiting": 0}


def test_what_another_partner_masters_is_not_judged_here(database: Database) -> None:
    bed = JudgedBed(database, master_of=("patient",))
    bed.whole("before", patients(3))
    bed.whole("before", [staff("S-1")], entity="practitioner")
    bed.visit("v1", "P-1", "S-1")
    assert judged(bed, staff_=[staff("S-1", active=False)]) == {}
    assert bed.results("r1", "visit")["visit_practitioner_active"] == (0, 0)
    assert bed.results("r1", "visit")["visit_patient_active"] == (1, 0)


def test_the_finding_of_a_visit_ends_with_the_next_run_in_which_all_visits_are_good(bed: JudgedBed) -> None:
    bed.visit("v1", "P-1", "S-1")
    judged(bed, staff_=[staff("S-1", active=False)])
    judged(bed, "r2")
    found = bed.rows("select expectation, opened_run_key, closed_run_key from quality.finding where entity = 'visit'")
    assert found == [
        {"expectation": "visit_practitioner_active", "opened_run_key": "r1", "closed_run_key": "r2"},
    ]
