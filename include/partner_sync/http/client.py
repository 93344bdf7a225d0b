"""One client for one organization at one partner: a grant before each call, bounded answers, typed errors.

Nothing is retried here, and no redirect is followed: a redirect would carry the key to wherever it points.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
import orjson

from partner_sync.errors import ConnectionUnusableError, PartnerSyncError
from partner_sync.http.outcomes import Intent, Said, error_of_answer, error_of_exception, unreadable
from partner_sync.http.redaction import described, open_headers, origin_of
from partner_sync.http.retry_after import retry_at
from partner_sync.kinds.interface import Access, Gate
from partner_sync.partners.model import ApiKeyAuth, BasicAuth, Partner
from partner_sync.partners.paths import value_at

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_REFUSAL_BYTES = 64 * 1024
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SCOPES = frozenset({"organization", "vendor", "office", "endpoint"})

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
    body: Mapping[str, object] | None = field(default=None, repr=False)


#: A connection that waited longer is not used again: servers close idle ones (5 s is usual), and a call that meets the
#: close on its way has an unknown outcome, which costs a whole settle time.
KEEPALIVE_SECONDS = 2.0


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
        limits, times = partner.concurrency, partner.timeouts
        self._http = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "partner-sync", **_sign_in(partner, access)},
            timeout=httpx.Timeout(times.read_seconds, connect=times.connect_seconds, pool=times.connect_seconds),
            limits=httpx.Limits(
                max_connections=limits, max_keepalive_connections=limits, keepalive_expiry=KEEPALIVE_SECONDS
            ),
            follow_redirects=False,
            # A proxy from the environment would be a reader of patients' data that no connection names.
            trust_env=False,
            verify=_tls(),
        )

    def call(self, intent: Intent, request: Request) -> Answer:
        """Make one call. Raises what ``outcomes`` says, and LimitReachedError when the ledger grants none now."""
        self._gate.take(intent.endpoint)
        started = time.monotonic()
        try:
            answer, said = self._exchange(intent, request)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError) as error:
            self._note(intent, request, outcome=type(error).__name__, seconds=time.monotonic() - started)
            raise error_of_exception(intent, error) from None
        self._note(intent, request, outcome=str(said.status), seconds=time.monotonic() - started)
        if said.status == 429 or (said.status == 503 and said.retry_at is not None):
            self._gate.heed(status=said.status, scope=said.scope, retry_at=said.retry_at)
        if (refusal := error_of_answer(intent, said, now=self._now())) is not None:
            raise refusal
        return answer

    def decoded(self, intent: Intent, answer: Answer) -> Any:
        """The JSON of an answer; raises BadAnswerError (a read) or OutcomeUnknownError (a change) when it is none."""
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise unreadable(intent, answer.status, problem="it is not JSON") from None

    def same_origin(self, url: str) -> bool:
        """Whether a whole address points to the partner's configured origin."""
        return origin_of(url) == self._origin and not httpx.URL(url).userinfo

    def close(self) -> None:
        self._http.close()

    def _exchange(self, intent: Intent, request: Request) -> tuple[Answer, Said]:
        content = None if request.body is None else orjson.dumps(request.body)
        headers = dict(request.headers) | ({} if content is None else {"Content-Type": "application/json"})
        url = request.url or f"{self.base_url}{request.path}"
        method = intent.endpoint.partition(" ")[0]
        parameters = dict(request.parameters) or None
        with self._http.stream(method, url, params=parameters, headers=headers, content=content) as response:
            success = response.is_success
            body = self._body(response, MAX_ANSWER_BYTES if success else _MAX_REFUSAL_BYTES)
            if success and body is None:
                raise unreadable(intent, response.status_code, problem=f"it is larger than {MAX_ANSWER_BYTES} bytes")
            said = Said(status=response.status_code) if success else self._said(response, body)
            following = None if intent.changes else _following(intent, response)
            return Answer(status=response.status_code, content=body or b"", next_url=following), said

    def _body(self, response: httpx.Response, most: int) -> bytes | None:
        """The body, or None when it is larger than ``most``; ReadTimeout when it trickles in for too long."""
        until = time.monotonic() + self.partner.timeouts.read_seconds
        chunks, size = [], 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > most:
                return None
            if time.monotonic() > until:
                raise httpx.ReadTimeout("the answer takes too long")
            chunks.append(chunk)
        return b"".join(chunks)

    def _said(self, response: httpx.Response, body: bytes | None) -> Said:
        document = _json_or_none(body)
        scope = value_at(document, self.partner.limit_scope_at) if self.partner.limit_scope_at else None
        return Said(
            status=response.status_code,
            retry_at=retry_at(response.headers.get("Retry-After"), self._now()),
            scope=scope if isinstance(scope, str) and scope in _SCOPES else None,
            fields=_complaints(self.partner, document),
        )

    def _note(self, intent: Intent, request: Request, *, outcome: str, seconds: float) -> None:
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
    except (httpx.InvalidURL, TypeError):
        raise _unusable(partner, "its address is no URL") from None
    if url.scheme not in {"http", "https"} or not _HOST.fullmatch(url.raw_host):
        raise _unusable(partner, "its address must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise _unusable(partner, "its address must have no login, query or fragment")
    return str(url).rstrip("/")


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


def _following(intent: Intent, response: httpx.Response) -> str | None:
    """The whole address of ``Link: <...>; rel="next"`` (RFC 8288), or None."""
    target = response.links.get("next", {}).get("url")
    if not target:
        return None
    try:
        return str(response.url.join(target))
    except httpx.InvalidURL:
        raise unreadable(intent, response.status_code, problem="its Link header holds no URL") from None


def _json_or_none(body: bytes | None) -> Any:
    try:
        return orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return None


def _complaints(partner: Partner, document: object) -> tuple[str, ...]:
    """'field: code' for each complaint; only names that we sent and plain codes: texts could quote a patient."""
    shape = partner.push.errors if partner.push else None
    listed = value_at(document, shape.at) if shape else None
    if shape is None or partner.push is None or not isinstance(listed, list):
        return ()
    found = []
    for each in listed[:20]:
        name, code = value_at(each, shape.field), value_at(each, shape.code) if shape.code else None
        known = name if isinstance(name, str) and name in partner.push.map else "another field"
        plain = code if isinstance(code, str) and _CODE.fullmatch(code) else "refused"
        found.append(f"{known}: {plain}")
    return tuple(found)
