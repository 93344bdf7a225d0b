"""One client for one organization at one partner: a grant before each call, bounded answers, typed errors.

Nothing is retried here, and no redirect is followed: a redirect would carry the key to wherever it points.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
import orjson

from partner_sync.errors import ConnectionUnusableError, PartnerSyncError
from partner_sync.http.bodies import ACCEPTED_ENCODING, bounded_body
from partner_sync.http.moments import Clock, clock_of
from partner_sync.http.outcomes import (
    Intent,
    Said,
    error_of_answer,
    error_of_exception,
    left_us,
    unreadable,
    was_answered,
)
from partner_sync.http.quotas import policy_key, quotas_of
from partner_sync.http.redaction import described, open_headers, origin_of
from partner_sync.http.refusals import said_in
from partner_sync.http.retry_after import retry_at
from partner_sync.http.wire import Wire
from partner_sync.kinds.interface import Access, Gate, Quota
from partner_sync.partners.model import ApiKeyAuth, BasicAuth, Partner

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_REFUSAL_BYTES = 64 * 1024
#: Who asks for a pause is heeded when its answer has been read: the body, which may name a scope, is worth no longer.
_PAUSE_BODY_SECONDS = 0.25
_MOST_POLICIES = 32
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_LAST_PORT = 65_535
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# httpx writes every filled URL at INFO and httpcore every header at DEBUG: values of patients, and the key.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A success: its status, its bytes, and where the Link header says that the list goes on."""

    status: int
    content: bytes = field(repr=False)
    next_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent: ``path`` is filled; ``url``, when given, is a whole address at the same origin instead."""

    path: str = field(default="", repr=False)
    url: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str | int] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | Sequence[object] | None = field(default=None, repr=False)


_HEADERS = {"Accept": "application/json", "Accept-Encoding": ACCEPTED_ENCODING, "User-Agent": "partner-sync"}


class PartnerClient:
    """Calls a partner as one organization. Serves several threads; ``close`` it.

    ``now`` gives the aware time that Retry-After is counted from.
    """

    def __init__(
        self, partner: Partner, access: Access, gate: Gate, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.partner = partner
        self.base_url = _base_url(partner, access)
        self._gate = gate
        self._now = now
        self._origin = origin_of(self.base_url)
        self._policies: dict[str, Quota] = {}
        self._wire = Wire(
            headers={**_HEADERS, **_sign_in(partner, access)},
            connect_seconds=partner.timeouts.connect_seconds,
            read_seconds=partner.timeouts.read_seconds,
            call_seconds=partner.timeouts.call_seconds,
            tls=_tls(),
        )

    @property
    def policies(self) -> tuple[Quota, ...]:
        """The policies (calls in a window) that answers have named so far, each as it was said last."""
        return tuple(self._policies.values())

    def call(self, intent: Intent, request: Request) -> Answer:
        """Make one call. Raises what ``outcomes`` says, and LimitReachedError when the ledger grants none now.

        The gate hears once of each call that left whether it reached the partner, whatever became of it.
        """
        self._gate.take(intent.endpoint)
        started = time.monotonic()
        try:
            answer, said = self._exchange(intent, request)
        except (
            httpx.HTTPError,
            httpx.CookieConflict,
            httpx.StreamError,
            httpx.InvalidURL,
            OSError,
            ValueError,
        ) as error:
            self._note(intent, request, outcome=type(error).__name__, seconds=time.monotonic() - started)
            if left_us(error):
                self._gate.answered(reached=was_answered(error))
            raise error_of_exception(intent, error) from None
        self._note(intent, request, outcome=str(said.status), seconds=time.monotonic() - started)
        self._gate.answered(reached=said.shows_a_working_partner)
        if said.asks_for_a_pause:
            until_at = self._on_the_ledgers_clock(said.retry_at)
            self._gate.heed(status=said.status, scope=said.scope, retry_at=until_at)
        if (refusal := error_of_answer(intent, said, now=self._now())) is not None:
            raise refusal
        if said.problem:
            raise unreadable(intent, said.status, problem=said.problem)
        return answer

    def decoded(self, intent: Intent, answer: Answer) -> Any:
        """The JSON of an answer; raises BadAnswerError (a read) or OutcomeUnknownError (a change) when it is none."""
        try:
            # RFC 8259, 8.1: a mark that should not be there may be left aside; some servers always send it.
            return orjson.loads(answer.content.removeprefix(_BYTE_ORDER_MARK))
        except orjson.JSONDecodeError:
            raise unreadable(intent, answer.status, problem="it is not JSON") from None

    def same_origin(self, url: str) -> bool:
        """Whether a whole address points to the partner's configured origin."""
        return origin_of(url) == self._origin and not httpx.URL(url).userinfo

    def close(self) -> None:
        self._wire.close()

    def _exchange(self, intent: Intent, request: Request) -> tuple[Answer, Said]:
        content = None if request.body is None else orjson.dumps(request.body)
        headers = dict(request.headers) | ({} if content is None else {"Content-Type": "application/json"})
        url = request.url or f"{self.base_url}{request.path}"
        method = intent.endpoint.partition(" ")[0]
        with self._wire.exchange(
            method, url, parameters=request.parameters or None, headers=headers, content=content
        ) as response:
            clock = clock_of(response.headers.get("Date"), self._now())
            quotas = self._heard_quotas(response, clock)
            if response.is_success:
                return self._success(intent, response)
            if response.status_code in {429, 503}:
                self._wire.hurry(_PAUSE_BODY_SECONDS)
            said = said_in(self.partner, response, self._refusal(response), clock=clock, quotas=quotas)
            return Answer(status=response.status_code, content=b""), said

    def _heard_quotas(self, response: httpx.Response, clock: Clock) -> tuple[Quota, ...]:
        """What the header fields say is told at once: the body may come slowly, or never."""
        again_at = retry_at(response.headers.get("Retry-After"), clock)
        quotas = quotas_of(response.headers, clock, retry_at=again_at)
        if quotas:
            self._gate.told([replace(each, reset_at=self._on_the_ledgers_clock(each.reset_at)) for each in quotas])
        # A 503 may name the quota of a partner in trouble (temporary-reduced-capacity), which is no lasting policy.
        if response.status_code != 503:
            self._keep_policies(quotas)
        return quotas

    def _on_the_ledgers_clock(self, moment: datetime | None) -> datetime | None:
        """Compared with the ledger's clock only its distance counts: ours may be slow or fast."""
        return None if moment is None else self._gate.now() + (moment - self._now())

    def _keep_policies(self, quotas: Iterable[Quota]) -> None:
        for quota in quotas:
            key = policy_key(quota)
            if key is not None and (key in self._policies or len(self._policies) < _MOST_POLICIES):
                self._policies[key] = replace(quota, name=key, remaining=None, reset_at=None)

    def _success(self, intent: Intent, response: httpx.Response) -> tuple[Answer, Said]:
        body = bounded_body(response, most=MAX_ANSWER_BYTES)
        problem = f"it is larger than {MAX_ANSWER_BYTES} bytes" if body is None else None
        following = None
        try:
            following = None if intent.changes else _following(response)
        except httpx.InvalidURL:
            problem = "its Link header holds no URL"
        answer = Answer(status=response.status_code, content=body or b"", next_url=following)
        return answer, Said(status=response.status_code, problem=problem)

    def _refusal(self, response: httpx.Response) -> bytes | None:
        """The body of a refusal; None when it cannot be read: its status says enough."""
        try:
            return bounded_body(response, most=_MAX_REFUSAL_BYTES)
        except httpx.HTTPError:
            return None

    def _note(self, intent: Intent, request: Request, *, outcome: str, seconds: float) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        what = described(self._origin, intent.endpoint, parameters=request.parameters)
        log.debug(
            "%s: %s -> %s in %.3f s, sent %s", self.partner.slug, what, outcome, seconds, open_headers(request.headers)
        )


@cache
def _tls() -> ssl.SSLContext:
    # Made once: it costs some 20 ms, and each organization has a client of its own.
    return httpx.create_ssl_context(trust_env=False)


def _unusable(partner: Partner, problem: str) -> PartnerSyncError:
    return ConnectionUnusableError(partner=partner.slug, endpoint="", status=0, problem=problem)


def _base_url(partner: Partner, access: Access) -> str:
    try:
        url = httpx.URL(access.base_url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise _unusable(partner, "its address is no URL") from None
    if url.scheme not in {"http", "https"} or not _HOST.fullmatch(url.raw_host):
        raise _unusable(partner, "its address must begin with http:// or https:// and name a host")
    if not _can_be_looked_up(url):
        raise _unusable(partner, "its address names a host or a port that cannot be")
    if url.userinfo or url.query or url.fragment:
        raise _unusable(partner, "its address must have no login, query or fragment")
    return str(url).rstrip("/")


def _can_be_looked_up(url: httpx.URL) -> bool:
    """Whether a socket takes the host's name and the port at all: 'api..example.jp' is none, nor is port 70000."""
    try:
        url.host.encode("idna")
    except UnicodeError:
        return False
    return url.port is None or 0 < url.port <= _LAST_PORT


def _sign_in(partner: Partner, access: Access) -> dict[str, str]:
    if not access.secret:
        raise _unusable(partner, "it has no password (the partner's key)")
    if isinstance(partner.auth, BasicAuth):
        if not access.login or ":" in access.login:
            raise _unusable(partner, "it has no login, or one with a colon")
        pair = f"{access.login}:{access.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
    if not _SENDABLE.fullmatch(access.secret):
        raise _unusable(partner, "its password has spaces or signs that no key can have")
    if isinstance(partner.auth, ApiKeyAuth):
        return {partner.auth.header: access.secret}
    return {"Authorization": f"Bearer {access.secret}"}


def _following(response: httpx.Response) -> str | None:
    """The whole address of ``Link: <...>; rel="next"`` (RFC 8288), or None. Raises InvalidURL when it is none."""
    target = response.links.get("next", {}).get("url")
    return str(response.url.join(target)) if target else None
