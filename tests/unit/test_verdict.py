"""What an answer, an error or a look-up means for an item: the default is unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from partner_sync import errors
from partner_sync.delivery import verdict
from partner_sync.kinds.interface import Presence

AT = datetime(2026, 11, 23, tzinfo=UTC)
NAMES: dict[str, object] = {"partner": "honoka", "endpoint": "PUT /v1/visits/{key}"}


def api(kind: type[errors.PartnerApiError], **facts: object) -> errors.PartnerApiError:
    return kind(**NAMES, **{"status": 400, "problem": "none", "fields": (), **facts})


@pytest.mark.parametrize(
    ("error", "outcome", "counted"),
    [
        (errors.OutcomeUnknownError(**NAMES, problem="lost"), "unknown", False),
        (errors.AnotherVisitNamedError(**NAMES), "unknown", False),
        (errors.PartnerSyncError(), "unknown", False),
        (api(errors.RejectedRequestError), "rejected", False),
        (api(errors.UnmappableVisitError), "rejected", False),
        (api(errors.VisitGoneError, status=404), "retry", True),
        (api(errors.BatchRefusedError, status=422), "retry", False),
        (api(errors.PartnerAuthError, status=401), "retry", False),
        (api(errors.BadAnswerError, status=405), "retry", False),
        (api(errors.RateLimitedError, status=429, retry_at=AT), "retry", False),
    ],
)
def test_an_error_has_its_outcome(error: errors.PartnerSyncError, outcome: str, *, counted: bool) -> None:
    found = verdict.of_error(error)
    assert (found.outcome, found.counted, found.code) == (outcome, counted, error.code)
    assert found.status == error.facts.get("status")


def test_a_visit_whose_name_nobody_knows_is_for_a_person() -> None:
    found = verdict.of_error(errors.VisitNameUnknownError(**NAMES))
    assert (found.outcome, found.parked, found.code) == ("unknown", True, "visit_name_unknown")


@pytest.mark.parametrize(
    ("error", "outcome", "counted", "parked"),
    [
        (errors.OutcomeUnknownError(**NAMES, problem="lost", answered=False), "unknown", False, False),
        (errors.OutcomeUnknownError(**NAMES, problem="it is not JSON", answered=True), "unknown", True, False),
        (errors.AnotherVisitNamedError(**NAMES), "unknown", True, False),
        (errors.PartnerUnavailableError(**NAMES, problem="no", status=None, retry_at=None), "unknown", False, False),
        (api(errors.RateLimitedError, status=429, retry_at=AT), "unknown", False, False),
        (api(errors.PartnerAuthError, status=401), "unknown", False, False),
        (api(errors.BadAnswerError, status=405), "unknown", True, False),
        (api(errors.RejectedRequestError), "rejected", False, False),
        (api(errors.UnmappableVisitError), "unknown", False, True),
    ],
)
def test_a_repeat_that_came_to_nothing_leaves_the_first_call_unknown(
    error: errors.PartnerSyncError, outcome: str, *, counted: bool, parked: bool
) -> None:
    found = verdict.of_failed_repeat(error)
    assert (found.outcome, found.counted, found.parked) == (outcome, counted, parked)


def test_a_visit_that_is_gone_there_is_known_to_be_absent() -> None:
    assert verdict.of_error(api(errors.VisitGoneError, status=404)).present is False


def test_a_refusal_leaves_only_names_of_ours_and_plain_codes() -> None:
    fields = (
        "patient_id: unknown",
        "the partner's name of the visit",
        "\u60a3\u8005: E-1",
        "note: Mr Sato called",
        "a\nb",
        "",
        7,
    )
    kept = verdict.of_error(api(errors.RejectedRequestError, fields=fields)).fields
    assert kept == ("patient_id: unknown", "the partner's name of the visit", "\u60a3\u8005: E-1")


@pytest.mark.parametrize(
    ("found", "action", "outcome"),
    [
        ("same", "put", "accepted"),
        ("different", "put", "retry"),
        ("unproven", "put", "unknown"),
        ("absent", "put", "retry"),
        ("absent", "withdraw", "withdrawn"),
        ("same", "withdraw", "retry"),
    ],
)
def test_what_was_looked_up_is_accepted_only_when_it_is_as_it_was_sent(found: str, action: str, outcome: str) -> None:
    judged = verdict.of_presence(Presence(found=found), action)  # type: ignore[arg-type]  # plain texts in tests
    assert judged.outcome == outcome
    assert judged.counted == (outcome == "retry")


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (api(errors.BadAnswerError, status=200), True),
        (api(errors.RejectedRequestError), True),
        (errors.PartnerUnavailableError(**NAMES, problem="status 500", status=500, retry_at=None), True),
        (errors.PartnerUnavailableError(**NAMES, problem="status 503", status=503, retry_at=None), False),
        (errors.PartnerUnavailableError(**NAMES, problem="ConnectError", status=None, retry_at=None), False),
        (api(errors.PartnerAuthError, status=401), False),
        (api(errors.RateLimitedError, status=429, retry_at=AT), False),
    ],
)
def test_a_look_up_counts_only_when_the_partner_was_there_to_answer(
    error: errors.PartnerSyncError, *, counted: bool
) -> None:
    found = verdict.of_failed_look_up(error)
    assert (found.outcome, found.counted) == ("unknown", counted)
