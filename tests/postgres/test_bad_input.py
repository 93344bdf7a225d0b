"""Bad input from a real server, through a whole master sync: a row that waits or a clear error, and nothing lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from partner_sync.errors import BadAnswerError, PagingLoopError, PartnerSyncError, PartnerUnavailableError
from partner_sync.kinds.interface import Access, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.master.guard import MergeCounts
from partner_sync.partners.fields import ENTITY_ORDER
from partner_sync.quality.validate import validate_run
from postgres.listings import MasterBed
from postgres_server import Database
from sandbox.faults import FaultKind
from sandbox.running import RunningPartner
from scripted_server import OpenGate

ORGANIZATION = "sakura-care"
PATIENTS = 1200
PATIENT_PAGES = "/v1/patients*"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningPartner]:
    with RunningPartner("honoka", patients=PATIENTS, practitioners=4, dirty_share=0) as partner:
        yield partner


@pytest.fixture
def practice(running: RunningPartner) -> RunningPartner:
    running.reset()
    return running


@pytest.fixture
def bed(database: Database) -> MasterBed:
    return MasterBed(database, organization=ORGANIZATION)


@pytest.fixture
def kind(bed: MasterBed, practice: RunningPartner) -> Iterator[PartnerKind]:
    access = Access(base_url=practice.base_url, secret=practice.key(ORGANIZATION).secret)
    opened = open_kind(bed.partner, access, OpenGate())
    yield opened
    opened.close()


def sync(bed: MasterBed, kind: PartnerKind, *, run_key: str) -> MergeCounts:
    """A full sync of everything; what became of the patients."""
    for entity in ENTITY_ORDER:
        bed.extract(run_key, kind, entity=entity)
    validate_run(bed.validating, partner="honoka", run_key=run_key, organizations=[ORGANIZATION], entities=ENTITY_ORDER)
    return {entity: bed.merge(run_key, entity=entity) for entity in ENTITY_ORDER}["patient"]


@pytest.mark.parametrize(
    "fault", ["record_not_object", "missing_key", "number_for_text", "long_text", "nul", "wrong_date"]
)
def test_one_bad_record_waits_in_quarantine_and_all_others_are_merged(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner, fault: FaultKind
) -> None:
    practice.fault(fault, path=PATIENT_PAGES, times=1)
    assert sync(bed, kind, run_key="r1").inserted == PATIENTS - 1
    waiting = bed.rows("select reasons from quarantine.row where entity = 'patient' and status = 'open'")
    assert len(waiting) == 1
    assert waiting[0]["reasons"]

    practice.clear_faults()
    assert sync(bed, kind, run_key="r2").inserted == 1
    assert len(bed.canonical()) == PATIENTS


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("not_json", BadAnswerError),
        ("html", BadAnswerError),
        ("error_200", BadAnswerError),
        ("empty_page", BadAnswerError),
        ("cut_body", PartnerUnavailableError),
        ("repeated_page", PagingLoopError),
    ],
)
def test_a_listing_that_breaks_leaves_the_data_of_the_last_sync_whole(
    bed: MasterBed, kind: PartnerKind, practice: RunningPartner, fault: FaultKind, error: type[PartnerSyncError]
) -> None:
    sync(bed, kind, run_key="r1")
    before = bed.canonical()
    practice.fault(fault, path=PATIENT_PAGES, skip=1)
    with pytest.raises(error):
        bed.extract("r2", kind)
    assert bed.rows("select from staging.slice where state = 'complete' and run_key = 'r2'") == []

    practice.clear_faults()
    assert sync(bed, kind, run_key="r3").tombstoned == 0
    assert bed.canonical() == before
