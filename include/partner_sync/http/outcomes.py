"""The one table from a response or an exception of httpx to a typed error. What stands nowhere fails.

Reads can be asked again; a call that changes something cannot, unless it is sure that it was not done:

| answer | a read | a change |
| --- | --- | --- |
| 2xx | success | success |
| 3xx | bad answer: no redirect is followed | the same; 303 says that it was done: unknown |
| 401, 403, 407 | the organization's key | the same |
| 405, 501, 505 | bad answer: the file names a wrong method or address | the same |
| 404, 410 | bad answer: no such list | rejected; when taking away: success |
| 408, 423, 425 | unavailable | unavailable: the partner says that it did not take the request |
| 409 | refused | with an idempotency key still running, so unknown; without one rejected |
| 429, or a problem type that names limits | rate limited | rate limited: the partner turned the call away by itself |
| other 4xx | refused: ours to look at | rejected |
| 503 with Retry-After | unavailable | unavailable: the partner turned the call away by itself |
| other 5xx | unavailable | unknown: it may have been done before it broke |
| no connection made | unavailable | unavailable: nothing left |
| lost after it was made | unavailable | unknown |

A problem type that names limits (quota-exceeded and its like) counts with any 4xx and with 503: some partners answer
403 for a used-up quota, which is no matter of the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

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

#: How long to wait after a 429 that does not say how long.
UNSAID_PAUSE_SECONDS = 30

_AUTH = frozenset({401, 403, 407})
_WRONG_ADDRESS = frozenset({405, 501, 505})
_NOT_TAKEN = frozenset({408, 423, 425})
_GONE = frozenset({404, 410})


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What was asked, for errors: ``endpoint`` is the method and the path template, never a filled path.

    ``changes``: the partner's state. ``keyed``: an idempotency key went along. ``absent_is_fine``: 404 and
    410 are a success (taking away, reading back).
    """

    partner: str
    endpoint: str
    changes: bool = False
    keyed: bool = False
    absent_is_fine: bool = False


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an answer says besides its records: status, when to come again, and its complaints, as names and codes.

    ``limited``: its body says that the partner's limits turned the call away, whatever the status. ``problem``: why a
    success cannot be used.
    """

    status: int
    retry_at: datetime | None = None
    limited: bool = False
    problem: str | None = None
    scope: str | None = None
    fields: tuple[str, ...] = ()

    @property
    def asks_for_a_pause(self) -> bool:
        """Whether the partner asks us, in words of its own, to call less or later (design, rule 8)."""
        return self.rate_limited or (self.status == 503 and self.retry_at is not None)

    @property
    def rate_limited(self) -> bool:
        return self.status == 429 or (self.limited and (400 <= self.status < 500 or self.status == 503))

    @property
    def shows_a_working_partner(self) -> bool:
        """Whether the circuit breaker counts the answer as one.

        4xx and 3xx are answers of a partner that works, and so are 501 and 505. A 503 that names its time is the
        partner itself speaking: the pause that it asks for is kept, and an open circuit would only guess at a longer
        one. Other 5xx come from a broken partner, or from what stands before one that is down.
        """
        return self.status < 500 or self.status in _WRONG_ADDRESS or self.asks_for_a_pause or self.status > 599


def error_of_answer(intent: Intent, said: Said, *, now: datetime) -> PartnerSyncError | None:
    """The error that an answer means, or None for a success."""
    status = said.status
    if 200 <= status < 300 or (intent.absent_is_fine and status in _GONE):
        return None
    if said.rate_limited:
        again_at = said.retry_at or now + timedelta(seconds=UNSAID_PAUSE_SECONDS)
        facts: dict[str, object] = {"partner": intent.partner, "endpoint": intent.endpoint, "status": status}
        return RateLimitedError(**facts, retry_at=again_at, scope=said.scope)
    if 400 <= status < 500:
        return _client_error(intent, said)
    if status in _WRONG_ADDRESS:
        return _bad(intent, status, problem="the partner does not know this method")
    if status >= 500:
        return _server_error(intent, said)
    if intent.changes and status == 303:
        return _unknown(intent, "status 303")
    problem = "a redirect is not followed" if 300 <= status < 400 else "no such status can end a call"
    return _bad(intent, status, problem=problem)


def _client_error(intent: Intent, said: Said) -> PartnerSyncError:
    status = said.status
    facts: dict[str, object] = {"partner": intent.partner, "endpoint": intent.endpoint, "status": status}
    if status in _AUTH:
        return PartnerAuthError(**facts)
    if status in _NOT_TAKEN:
        return _unavailable(intent, f"status {status}", said=said)
    if status in _WRONG_ADDRESS or (status in _GONE and not intent.changes):
        return _bad(intent, status, problem="the address or method of the partner file is not known there")
    if status == 409 and intent.keyed:
        return _unknown(intent, "a call with the same idempotency key is still running")
    return RejectedRequestError(**facts, fields=said.fields) if intent.changes else ReadRefusedError(**facts)


def _server_error(intent: Intent, said: Said) -> PartnerSyncError:
    turned_away = said.status == 503 and said.retry_at is not None
    if intent.changes and not turned_away:
        # A 500 is about the call; the others come from a partner, or from what stands before it, that is away.
        return _unknown(intent, f"status {said.status}", answered=said.status == 500)
    return _unavailable(intent, f"status {said.status}", said=said)


#: Raised before a byte of the request left.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
#: The connection's address or key cannot be written into a request at all: nothing left either.
_NOT_WRITABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, httpx.CookieConflict)
#: The connection broke, or the time ran out, when the request may have been on its way or done.
_LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
#: An answer came, and cannot be read.
_UNREADABLE = (httpx.DecodingError, httpx.TooManyRedirects, httpx.HTTPStatusError, httpx.StreamError)


def left_us(error: Exception) -> bool:
    """Whether a call was tried at all: what cannot be written says nothing about the partner."""
    return not isinstance(error, _NOT_WRITABLE)


def was_answered(error: Exception) -> bool:
    """Whether the partner has answered, though the answer cannot be read."""
    return isinstance(error, _UNREADABLE)


def error_of_exception(intent: Intent, error: Exception) -> PartnerSyncError:
    """The error that an exception of httpx means; its own text is left behind, it can carry addresses and keys."""
    problem = type(error).__name__
    if isinstance(error, _NOT_SENT):
        return _unavailable(intent, problem)
    if isinstance(error, _NOT_WRITABLE):
        return ConnectionUnusableError(
            partner=intent.partner, endpoint=intent.endpoint, status=0, problem=f"no request can be written ({problem})"
        )
    if intent.changes:
        return _unknown(intent, problem, answered=was_answered(error))
    if isinstance(error, _LOST):
        return _unavailable(intent, problem)
    if isinstance(error, _UNREADABLE):
        return _bad(intent, 0, problem=problem)
    return _bad(intent, 0, problem=f"unexpected {problem}")


def unreadable(intent: Intent, status: int, *, problem: str) -> PartnerSyncError:
    """A success whose body cannot be used: for a change it is unknown what was done under which name."""
    return _unknown(intent, problem) if intent.changes else _bad(intent, status, problem=problem)


def _bad(intent: Intent, status: int, *, problem: str) -> BadAnswerError:
    return BadAnswerError(partner=intent.partner, endpoint=intent.endpoint, status=status or "nothing", problem=problem)


def _unknown(intent: Intent, problem: str, *, answered: bool = True) -> OutcomeUnknownError:
    return OutcomeUnknownError(partner=intent.partner, endpoint=intent.endpoint, problem=problem, answered=answered)


def _unavailable(intent: Intent, problem: str, *, said: Said | None = None) -> PartnerUnavailableError:
    facts = {"status": said.status, "retry_at": said.retry_at} if said else {"status": None, "retry_at": None}
    return PartnerUnavailableError(partner=intent.partner, endpoint=intent.endpoint, problem=problem, **facts)
