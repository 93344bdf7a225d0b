"""The two partners that come with the project, each against its practice server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from partner_sync.errors import (
    OutcomeUnknownError,
    PartnerAuthError,
    PartnerUnavailableError,
    RejectedRequestError,
)
from partner_sync.kinds.interface import Access, VisitCall
from partner_sync.kinds.rest_json import RestJsonKind
from partner_sync.partners.loader import load_partners
from partner_sync.partners.mapping import compile_entity
from sandbox.running import RunningPartner
from scripted_server import OpenGate
from unit.kinds.visit_calls import START, visit

COMMITTED = load_partners(Path(__file__).resolve().parents[3] / "include" / "partners").partners
OPENED: list[RestJsonKind] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module", params=["honoka", "tsubaki"])
def practice(request: pytest.FixtureRequest) -> Iterator[RunningPartner]:
    with RunningPartner(request.param, patients=45, dirty_share=0.0) as running:
        yield running


ORGANIZATION = "momiji-care"


def joined(practice: RunningPartner, **timeouts: float) -> RestJsonKind:
    key = practice.key(ORGANIZATION)
    partner = COMMITTED[practice.profile]
    if timeouts:
        partner = partner.model_copy(update={"timeouts": partner.timeouts.model_copy(update=timeouts)})
    OPENED.append(
        RestJsonKind(partner, Access(base_url=practice.base_url, login=key.login, secret=key.secret), OpenGate())
    )
    return OPENED[-1]


def real_visit(practice: RunningPartner, name: str, **changes: Any) -> VisitCall:
    kind = joined(practice)
    partner = COMMITTED[practice.profile]
    patients = compile_entity(partner, "patient")
    first = patients.map(next(kind.pages("patient")).records[0])
    values = {
        "visit_id": name, "organization": ORGANIZATION, "patient_key": first.key, "office_key": first.values[0],
        **changes.pop("values", {}),
    }  # fmt: skip
    return visit(visit_id=name, idempotency_key=changes.pop("idempotency_key", name), values=values, **changes)


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "practice" in request.fixturenames:
        request.getfixturevalue("practice").clear_faults()


@pytest.mark.parametrize("entity", ["office", "practitioner", "patient"])
def test_every_record_of_the_practice_partner_is_mapped_without_a_problem(
    practice: RunningPartner, entity: Any
) -> None:
    mapper = compile_entity(COMMITTED[practice.profile], entity)
    pages = list(joined(practice).pages(entity))
    mapped = [mapper.map(record) for page in pages for record in page.records]
    assert len(mapped) == pages[-1].total > 0
    assert [each.problems for each in mapped if each.problems] == []
    assert len({each.key for each in mapped}) == len(mapped)
    filled = {
        name for each in mapped for name, value in zip(mapper.columns, each.values, strict=True) if value is not None
    }
    assert set(mapper.columns) - filled <= {"valid_to", "license_number"}


def test_a_visit_goes_is_read_back_changes_and_goes_away(practice: RunningPartner) -> None:
    kind = joined(practice)
    call = real_visit(practice, "round-trip")
    assert kind.read_back(call).found == "absent"
    ref = kind.send(call).partner_ref
    assert kind.read_back(call).found == "same"
    moved = real_visit(
        practice,
        "round-trip",
        idempotency_key="round-trip-2",
        partner_ref=ref,
        values={"end_at": START + timedelta(hours=2)},
    )
    assert kind.read_back(moved).found == "different"
    kind.send(moved)
    assert kind.read_back(moved).found == "same"
    gone = real_visit(practice, "round-trip", idempotency_key="round-trip-3", partner_ref=ref, action="withdraw")
    assert kind.send(gone).status in {200, 204}
    assert kind.send(gone).status in {200, 204, 404}
    assert kind.read_back(moved).found == "absent"


@pytest.mark.parametrize("fault", ["drop_after", "cut_body", "not_json", "error_200"])
def test_an_answer_lost_after_the_work_is_unknown_and_read_back_as_same(practice: RunningPartner, fault: Any) -> None:
    kind = joined(practice)
    call = real_visit(practice, f"lost-{fault}")
    practice.fault(fault, times=1, method="PUT" if practice.profile == "honoka" else "POST")
    with pytest.raises(OutcomeUnknownError):
        kind.send(call)
    presence = kind.read_back(call)
    assert presence.found == "same"
    assert (presence.partner_ref is not None) == (practice.profile == "tsubaki")


def test_a_call_cut_before_the_work_is_unknown_and_read_back_as_absent(practice: RunningPartner) -> None:
    kind = joined(practice)
    call = real_visit(practice, "cut-before")
    practice.fault("drop_before", times=1, method="PUT" if practice.profile == "honoka" else "POST")
    with pytest.raises(OutcomeUnknownError):
        kind.send(call)
    assert kind.read_back(call).found == "absent"


def test_a_field_error_names_the_field_and_the_code(practice: RunningPartner) -> None:
    call = real_visit(practice, "no-such-patient", values={"patient_key": "nobody"})
    with pytest.raises(RejectedRequestError) as raised:
        joined(practice).send(call)
    field = "patient_id" if practice.profile == "honoka" else "user_no"
    assert f"{field}: unknown" in raised.value.facts["fields"]


def test_a_wrong_key_is_an_auth_error(practice: RunningPartner) -> None:
    access = Access(base_url=practice.base_url, login="someone", secret="wrong")
    kind = RestJsonKind(COMMITTED[practice.profile], access, OpenGate())
    OPENED.append(kind)
    with pytest.raises(PartnerAuthError):
        next(kind.pages("patient"))


def test_a_server_that_breaks_while_listing_is_unavailable(practice: RunningPartner) -> None:
    practice.fault("status", times=1, method="GET", status=500)
    with pytest.raises(PartnerUnavailableError):
        next(joined(practice).pages("patient"))
