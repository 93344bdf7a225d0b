"""Bad input from a real server, through a whole master sync: a row that waits or a clear error, and nothing lost."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from partner_sync.catalogue import entry
from partner_sync.errors import (
    BadAnswerError,
    PagingLoopError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
)
from partner_sync.http import client as client_module
from partner_sync.kinds.interface import Access, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.master.guard import MergeCounts
from partner_sync.partners.fields import ENTITY_ORDER, Entity
from partner_sync.quality.validate import validate_run
from postgres.listings import MasterBed
from postgres_server import Database
from sandbox.faults import FaultKind
from sandbox.running import RunningPartner
from scripted_server import OpenGate, Reply, ScriptedServer

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


def sync(
    bed: MasterBed, kind: PartnerKind, *, run_key: str, entities: tuple[Entity, ...] = ENTITY_ORDER
) -> MergeCounts:
    """A full sync; what became of the patients."""
    for entity in entities:
        bed.extract(run_key, kind, entity=entity)
    validate_run(bed.validating, partner="honoka", run_key=run_key, organizations=[ORGANIZATION], entities=entities)
    return {entity: bed.merge(run_key, entity=entity) for entity in entities}["patient"]


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
    assert sync(bed, kind, run_key="r2", entities=("patient",)).inserted == 1
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
    assert sync(bed, kind, run_key="r3", entities=("patient",)).tombstoned == 0
    assert bed.canonical() == before


PAGE = {"data": [], "pagination": {"last_page": 1, "total": 0}}


def listed(bed: MasterBed, server: ScriptedServer) -> None:
    kind = open_kind(bed.partner, Access(base_url=server.base_url, secret="key"), OpenGate())
    try:
        bed.extract("r1", kind)
    finally:
        kind.close()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, gzip.compress(bytes(20_000_000)), {"Content-Encoding": "gzip"}),
        Reply(200, gzip.compress(gzip.compress(b"{}")), {"Content-Encoding": "gzip, gzip"}),
        Reply(200, b"x" * 1_000_001),
        Reply(200, '{"data": ["山田"]}'.encode("cp932")),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"data": [NaN]}'),
    ],
    ids=["bomb", "packed_twice", "too_large", "another_charset", "nested", "not_a_number"],
)
def test_a_page_that_cannot_be_read_is_a_bad_answer_in_words(
    bed: MasterBed, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1_000_000)
    with ScriptedServer(reply) as server, pytest.raises(BadAnswerError) as raised:
        listed(bed, server)
    assert entry(raised.value.code).owner == "partner"
    assert bed.rows("select from staging.slice where state = 'complete'") == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_list_that_is_sent_to_another_host_is_not_followed_with_the_key(bed: MasterBed, status: int) -> None:
    with ScriptedServer(Reply(200, PAGE)) as elsewhere:
        away = Reply(status, b"", {"Location": f"{elsewhere.base_url}/v1/patients"})
        with ScriptedServer(away) as server, pytest.raises(BadAnswerError, match="redirect"):
            listed(bed, server)
        assert elsewhere.came == []


def test_a_next_page_at_another_host_is_not_asked_for_with_the_key(database: Database) -> None:
    bed = MasterBed(database, partner="tsubaki", organization=ORGANIZATION)
    with ScriptedServer(Reply(200, PAGE)) as elsewhere:
        following = {"Link": f'<{elsewhere.base_url}/api/users?page=2>; rel="next"'}
        page = Reply(200, {"result": {"items": [{"user_no": "1"}]}, "total": 2}, following)
        with ScriptedServer(page) as server:
            kind = open_kind(bed.partner, Access(base_url=server.base_url, login="me", secret="key"), OpenGate())
            with pytest.raises(BadAnswerError, match="another server"):
                list(kind.pages("patient"))
            kind.close()
        assert elsewhere.came == []


def test_a_list_that_is_to_wait_ten_years_waits_an_hour(bed: MasterBed) -> None:
    with ScriptedServer(Reply(429, b"", {"Retry-After": str(10 * 365 * 86_400)})) as server:
        with pytest.raises(RateLimitedError) as waiting:
            listed(bed, server)
        assert len(server.came) == 1
    assert timedelta(minutes=59) < waiting.value.retry_at - datetime.now(UTC) <= timedelta(hours=1)
