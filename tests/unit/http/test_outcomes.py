"""The table from an answer or an exception to one of our errors, over every status and every class of httpx."""

from __future__ import annotations

import inspect
import traceback
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.catalogue import entry
from partner_sync.errors import (
    BadAnswerError,
    ConnectionUnusableError,
    OutcomeUnknownError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    ReadRefusedError,
    RejectedRequestError,
)
from partner_sync.http.outcomes import UNSAID_PAUSE_SECONDS, Intent, Said, error_of_answer, error_of_exception

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=5)
READ = Intent(partner="trial", endpoint="GET /v1/patients")
CHANGE = Intent(partner="trial", endpoint="PUT /v1/visits/{key}", changes=True)
KEYED = Intent(partner="trial", endpoint="PUT /v1/visits/{key}", changes=True, keyed=True)
TAKE = Intent(partner="trial", endpoint="DELETE /v1/visits/{key}", changes=True, absent_is_fine=True)


@pytest.mark.parametrize(
    ("intent", "status", "error"),
    [
        (READ, 400, ReadRefusedError),
        (READ, 409, ReadRefusedError),
        (READ, 422, ReadRefusedError),
        (CHANGE, 400, RejectedRequestError),
        (READ, 401, PartnerAuthError),
        (CHANGE, 403, PartnerAuthError),
        (READ, 404, BadAnswerError),
        (CHANGE, 404, RejectedRequestError),
        (CHANGE, 405, BadAnswerError),
        (CHANGE, 408, PartnerUnavailableError),
        (CHANGE, 409, RejectedRequestError),
        (KEYED, 409, OutcomeUnknownError),
        (CHANGE, 422, RejectedRequestError),
        (CHANGE, 425, PartnerUnavailableError),
        (READ, 429, RateLimitedError),
        (CHANGE, 429, RateLimitedError),
        (READ, 500, PartnerUnavailableError),
        (CHANGE, 500, OutcomeUnknownError),
        (CHANGE, 502, OutcomeUnknownError),
        (CHANGE, 503, OutcomeUnknownError),
        (CHANGE, 504, OutcomeUnknownError),
        (CHANGE, 501, BadAnswerError),
        (READ, 302, BadAnswerError),
        (CHANGE, 307, BadAnswerError),
        (CHANGE, 303, OutcomeUnknownError),
    ],
)
def test_each_status_has_its_error(intent: Intent, status: int, error: type[PartnerSyncError]) -> None:
    assert type(error_of_answer(intent, Said(status=status), now=NOW)) is error


def test_a_refused_read_is_ours_and_a_refused_visit_the_planners() -> None:
    owners = []
    for intent in (READ, CHANGE):
        error = error_of_answer(intent, Said(status=422), now=NOW)
        assert error is not None
        owners.append(entry(error.code).owner)
    assert owners == ["us", "user"]


@pytest.mark.parametrize("status", [404, 410])
def test_taking_away_what_is_gone_is_a_success(status: int) -> None:
    assert error_of_answer(TAKE, Said(status=status), now=NOW) is None


def test_a_503_with_retry_after_was_surely_not_done() -> None:
    error = error_of_answer(CHANGE, Said(status=503, retry_at=SOON), now=NOW)
    assert isinstance(error, PartnerUnavailableError)
    assert error.retry_at == SOON


def test_a_429_without_a_time_still_names_one() -> None:
    error = error_of_answer(READ, Said(status=429), now=NOW)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == NOW + timedelta(seconds=UNSAID_PAUSE_SECONDS)


@pytest.mark.parametrize("status", [400, 402, 403, 429, 503])
@pytest.mark.parametrize("intent", [READ, CHANGE, KEYED, TAKE])
def test_a_problem_type_that_names_limits_is_no_matter_of_the_key_or_the_request(status: int, intent: Intent) -> None:
    error = error_of_answer(intent, Said(status=status, limited=True, retry_at=SOON), now=NOW)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == SOON


@pytest.mark.parametrize(
    ("said", "reached"),
    [
        (Said(status=200), True),
        (Said(status=302), True),
        (Said(status=401), True),
        (Said(status=404), True),
        (Said(status=408), True),
        (Said(status=422), True),
        (Said(status=429), True),
        (Said(status=500), False),
        (Said(status=501), True),
        (Said(status=502), False),
        (Said(status=503), False),
        (Said(status=503, retry_at=SOON), True),
        (Said(status=503, limited=True), True),
        (Said(status=504), False),
        (Said(status=521), False),
    ],
)
def test_the_circuit_breaker_is_told_which_answers_show_a_working_partner(said: Said, reached: bool) -> None:
    assert said.shows_a_working_partner == reached


@given(st.integers(min_value=100, max_value=999), st.sampled_from([READ, CHANGE, KEYED, TAKE]))
def test_no_status_outside_200_to_299_passes_for_a_success(status: int, intent: Intent) -> None:
    error = error_of_answer(intent, Said(status=status), now=NOW)
    gone = intent.absent_is_fine and status in {404, 410}
    assert (error is None) == (200 <= status < 300 or gone)


FOREIGN = [kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, Exception)]
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
NOT_WRITABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.CookieConflict)


def _raised(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "https://someone:secret@host/v1/visits/山田")
    return error


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_exception_of_httpx_becomes_an_error_of_ours_for_a_read(kind: type[Exception]) -> None:
    error = error_of_exception(READ, _raised(kind))
    assert isinstance(error, ConnectionUnusableError | PartnerUnavailableError | BadAnswerError)
    assert "unexpected" not in str(error) or kind in {httpx.HTTPError, httpx.RequestError, httpx.TransportError,
                                                      httpx.ProtocolError}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_change_is_unknown_unless_nothing_can_have_left(kind: type[Exception]) -> None:
    error = error_of_exception(CHANGE, _raised(kind))
    if issubclass(kind, NOT_SENT):
        assert isinstance(error, PartnerUnavailableError)
    elif issubclass(kind, NOT_WRITABLE):
        assert isinstance(error, ConnectionUnusableError)
    else:
        assert isinstance(error, OutcomeUnknownError)


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_text_of_a_foreign_exception_stays_behind(kind: type[Exception]) -> None:
    error = error_of_exception(CHANGE, _raised(kind))
    assert "secret" not in "".join(traceback.format_exception(error))
