"""A whole master sync over real HTTP: the practice partner's people, validated by the suites, become canonical."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from partner_sync.errors import (
    BadAnswerError,
    PagingLoopError,
    PartnerSyncError,
    PartnerUnavailableError,
    SliceIncompleteError,
)
from partner_sync.kinds.interface import PartnerKind
from partner_sync.master.guard import MergeCounts
from partner_sync.quality.validate import validate_run
from postgres.listings import MasterBed
from sandbox.running import RunningPartner

ORGANIZATION = "sakura-care"


@pytest.fixture
def practice() -> Iterator[RunningPartner]:
    with RunningPartner("honoka", patients=1200, practitioners=10, dirty_share=0.05) as running:
        yield running


def sync(bed: MasterBed, kind: PartnerKind, run_key: str, mode: str = "full") -> dict[str, MergeCounts]:
    entities = ("office", "practitioner", "patient")
    for entity in entities:
        bed.extract(run_key, kind, entity=entity, mode=mode)
    validate_run(bed.validating, partner="honoka", run_key=run_key, organizations=[ORGANIZATION], entities=entities)
    return {entity: bed.merge(run_key, entity=entity, overlap_seconds=120) for entity in entities}


def test_people_are_loaded_then_only_their_changes_and_quarantined_ones_come_back(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner
) -> None:
    dirty = practice.dirty(ORGANIZATION)
    first = sync(bed, kind, "r1")
    refused = {key for kinds in ("duplicate_key", "future_birth", "unknown_office") for key in dirty[kinds]}
    assert first["patient"].inserted == 1200 - len(refused)
    assert refused.isdisjoint(bed.canonical())
    assert all(row["office_id"] for row in bed.canonical().values())

    clean = sorted(bed.canonical())[:7]
    practice.change_patients(ORGANIZATION, keys=clean[:5])
    practice.delete_patients(ORGANIZATION, keys=clean[5:])
    practice.add_office(ORGANIZATION)
    second = sync(bed, kind, "r2", mode="incremental")["patient"]
    assert (second.updated, second.tombstoned) == (5, 2)
    assert second.inserted == len(dirty["unknown_office"])
    assert set(dirty["unknown_office"]) <= set(bed.canonical())


@pytest.mark.parametrize("fault", ["not_json", "error_200", "cut_body", "html"])
def test_a_listing_that_breaks_is_a_clear_error_and_merges_nothing(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner, fault: str
) -> None:
    practice.fault(fault, path="/v1/patients*", skip=1)
    with pytest.raises((BadAnswerError, PartnerUnavailableError)):
        bed.extract("r1", kind)
    assert bed.rows("select state, pages, records from staging.slice") == [
        {"state": "open", "pages": 1, "records": 500}
    ]
    bed.judge("r1")
    with pytest.raises(SliceIncompleteError):
        bed.merge("r1")
    assert bed.canonical() == {}


@pytest.mark.parametrize("fault", ["repeated_page", "loop_page"])
def test_pages_that_go_in_circles_never_make_a_complete_slice(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner, fault: str
) -> None:
    practice.fault(fault, path="/v1/patients*", skip=1)
    with suppress(PagingLoopError, BadAnswerError):
        bed.extract("r1", kind)
    assert bed.rows("select from staging.slice where state = 'complete'") == []


def test_a_listing_goes_on_after_the_partner_was_away(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner
) -> None:
    practice.fault("drop_before", path="/v1/patients*", skip=2, times=1)
    with pytest.raises(PartnerSyncError):
        bed.extract("r1", kind)
    before = len(bed.staged())
    counts = bed.extract("r1", kind)
    assert before == 1000
    assert (counts.state, counts.records) == ("complete", len(bed.staged()))
    assert len(practice.received(template="/v1/patients")) == 4


@pytest.mark.parametrize("fault", ["record_not_object", "missing_key", "number_for_text", "nul", "wrong_date"])
def test_a_spoilt_record_is_a_row_of_its_own_and_stops_no_other(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner, fault: str
) -> None:
    practice.fault(fault, path="/v1/patients*", records=1, times=1)
    counts = bed.extract("r1", kind)
    problems = [row["critical_problem"] for row in bed.staged() if row["critical_problem"]]
    assert (counts.state, len(problems)) == ("complete", 1)
