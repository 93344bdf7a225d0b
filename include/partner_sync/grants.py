"""Grants of the shared ledger, and what narrows them (design, rules 7, 8 and 10).

The rules are in sql/migrations (0007_limiter, 0008_grants, 0016_turns, 0017_heard, 0019_when_to_ask_again,
0020_grants_ahead). No call leaves without a grant; the doors through which a kind's calls pass are in
partner_sync.limiter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import CircuitOpenError, ConfigError, HeldError, LimitReachedError
from partner_sync.kinds.interface import Quota
from partner_sync.limits import Binding, Limits, binding_of
from partner_sync.statements import statement

CallClass = Literal["request", "tick", "master"]
#: Why fewer calls were granted than asked for.
Reason = Literal["limit", "paused", "circuit_open", "held"]

#: How long to stop when the partner asks us to slow down and names no time (a 429 is better known: sync.learn), or says
#: what is left and not for how long.
UNNAMED_PAUSE_SECONDS = 30.0
#: A call of a limit that lets one through at a time is granted so long before it may leave: the time to get it ready.
LEAD_SECONDS = 0.15
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks for calls, and under which limits."""

    partner: str
    organization: str
    limits: Limits
    call_class: CallClass
    office: str | None = None

    def facts(self, endpoint: str | None) -> dict[str, Any]:
        """The caller and the limits that bind its calls to this endpoint, as the statements take them."""
        return {
            "partner": self.partner,
            "organization": self.organization,
            "limits": self.binding(endpoint).text,
            "jitter_seconds": self.limits.jitter_seconds,
        }

    def binding(self, endpoint: str | None) -> Binding:
        return binding_of(self.limits, self.organization, self.office, endpoint)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """``count`` calls that may leave from ``granted_at`` to ``expires_at`` (the database's clock); 0: none fits now.

    ``reason``: why it is fewer than was asked for, None when it is not. ``retry_at``: when one more fits; None also
    when that depends on a person (held). ``clock_at``: the database's clock when it was asked, ``granted_at`` can be
    ahead of it. ``asked_at``, ``answered_at``: this process's monotonic clock before the question and after the answer.
    ``left``: what each of the limits had left after it.
    """

    count: int
    granted_at: datetime
    expires_at: datetime
    retry_at: datetime | None
    reason: Reason | None
    caller: Caller = field(repr=False)
    endpoint: str | None = field(repr=False)
    clock_at: datetime = field(repr=False)
    asked_at: float = field(repr=False)
    answered_at: float = field(repr=False)
    grant_id: int | None = field(repr=False)
    buckets: tuple[int, ...] = field(repr=False)
    left: tuple[int, ...] = field(repr=False)

    @property
    def partner(self) -> str:
        return self.caller.partner

    @property
    def leases(self) -> bool:
        """Whether its calls are counted while they are in flight."""
        return self.caller.binding(self.endpoint).leases

    @property
    def usable_until(self) -> float:
        """The expiry by this process's monotonic clock: not later than by the database's."""
        return self.asked_at + (self.expires_at - self._asked_at).total_seconds()

    @property
    def usable_from(self) -> float:
        """When the first call may leave, by this process's monotonic clock: not earlier than by the database's."""
        return self.answered_at + self._ahead.total_seconds()

    @property
    def seconds_until_more(self) -> float:
        """From the question to ``retry_at``; infinite when that depends on a person."""
        return math.inf if self.retry_at is None else (self.retry_at - self._asked_at).total_seconds()

    def moment(self, at: float) -> datetime:
        """A moment of this process's monotonic clock by the database's, at the latest."""
        return self._asked_at + timedelta(seconds=at - self.asked_at)

    @property
    def _asked_at(self) -> datetime:
        return self.granted_at - self._ahead

    @property
    def _ahead(self) -> timedelta:
        """How far the grant is ahead of the clock. What is more than a lead is a clock that was set back: the ledger
        goes on from where it was, and nobody waits for that.
        """
        ahead = max(timedelta(), self.granted_at - self.clock_at)
        return ahead if ahead <= timedelta(seconds=2 * LEAD_SECONDS) else timedelta()

    def refusal(self) -> LimitReachedError:
        """The error that says why there is no call, and when to ask again."""
        if self.reason == "held":
            return HeldError(partner=self.partner)
        if self.count and self.reason == "circuit_open":
            # Our own probe: the others wait for it as for a limit, a second or so.
            return LimitReachedError(partner=self.partner, retry_at=self.retry_at)
        if self.reason == "circuit_open":
            return CircuitOpenError(partner=self.partner, retry_at=self.retry_at)
        return LimitReachedError(partner=self.partner, retry_at=self.retry_at, reason=self.reason or "limit")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a partner said about slowing down: the scope it named, if any, until when, and by which status.

    ``until_at``: None when a 429 names no time; the ledger knows its window, and how often that happened.
    """

    scope: str | None
    until_at: datetime | None
    status: int = _TOO_MANY_REQUESTS

    @classmethod
    def of(cls, *, status: int, scope: str | None, retry_at: datetime | None) -> Heard:
        """``retry_at``: None when the partner named no time."""
        if retry_at is None and status != _TOO_MANY_REQUESTS:
            retry_at = _unnamed_end()
        return cls(scope=scope, until_at=retry_at, status=status)

    @property
    def ends_at(self) -> datetime:
        """Until when to stop, as long as the ledger has not been asked."""
        return self.until_at or _unnamed_end()


def _unnamed_end() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=UNNAMED_PAUSE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How many calls, to which endpoint, and for how long they may leave; a grant that is ``finished`` in the same
    transaction, whose last call left at ``left_at``.
    """

    count: int
    endpoint: str | None
    hold_seconds: float
    finished: Grant | None = None
    left_at: datetime | None = None


def acquire(
    conn: Connection,
    *,
    partner: str,
    organization: str,
    limits: Limits,
    count: int,
    call_class: CallClass,
    endpoint: str | None = None,
    office: str | None = None,
) -> Grant:
    """Take up to ``count`` calls, each over every limit that binds it; they may leave for ``grant_ttl_seconds``.

    Raises ConfigError inside a transaction: a rollback would take back the record of calls that have left.
    """
    caller = Caller(partner=partner, organization=organization, limits=limits, call_class=call_class, office=office)
    return ask(conn, caller, Asked(count=count, endpoint=endpoint, hold_seconds=limits.grant_ttl_seconds))


def queue_up(
    conn: Connection, *, partner: str, organizations: Sequence[str], limits: Limits, call_class: CallClass, wanted: int
) -> None:
    """Say that these organizations will ask for about so many calls each, one after the other.

    Without it the first to come would take all the room of a limit that they share: nobody else waits yet.
    """
    callers = [
        Caller(partner=partner, organization=organization, limits=limits, call_class=call_class)
        for organization in organizations
    ]
    values = {
        "partner": partner,
        "organizations": [caller.organization for caller in callers],
        "call_class": call_class,
        "wanted": wanted,
        "limits": [caller.binding(None).text for caller in callers],
        "jitter_seconds": limits.jitter_seconds,
    }
    with translated_errors():
        conn.execute(statement("limiter.queue_up"), values)


def pause(
    conn: Connection, *, partner: str, organization: str, until_at: datetime, scope: str | None = None
) -> datetime:
    """Grant nothing for the scope before ``until_at``, an hour away at most; returns until when it is paused.

    ``scope`` as the partner named it: 'vendor' or 'organization' (anything narrower counts as the organization); None
    pauses the organization, and the vendor as soon as a second organization was told so in the same window.
    """
    values = {"partner": partner, "organization": organization, "until_at": until_at, "scope": scope}
    with translated_errors():
        row = conn.execute(statement("limiter.pause"), values).fetchone()
    paused_until: datetime = _row(row)["until_at"]
    return paused_until


def finish_grant(conn: Connection, grant: Grant, *, left_at: datetime | None = None) -> None:
    """Say that no call of this grant leaves any more, and that those in flight are back. What did not leave stays
    counted; but windows now count the grant from ``left_at`` (the database's clock; None: now), not from its expiry, so
    that the next calls may leave earlier.
    """
    if grant.grant_id is not None:
        values = {"grant_id": grant.grant_id, "buckets": list(grant.buckets), "left_at": left_at}
        with translated_errors():
            conn.execute(statement("limiter.finish_grant"), values)


def free_places(conn: Connection, grant: Grant, calls: int) -> None:
    """Say that so many calls of a grant are back and others still in flight: as many may leave instead."""
    values = {"grant_id": grant.grant_id, "buckets": list(grant.buckets), "calls": calls}
    with translated_errors():
        conn.execute(statement("limiter.free_places"), values)


def apply_heard(conn: Connection, grant: Grant, heard: Sequence[Heard], *, unsent: int) -> None:
    """Stop everybody for as long as the partner said; a 429 also teaches the limits that fewer calls fit.

    ``unsent``: how many calls of the grant did not get through.
    """
    ends_by_said: dict[tuple[str | None, bool], list[datetime]] = {}
    for one in heard:
        ends = ends_by_said.setdefault((one.scope, one.status == _TOO_MANY_REQUESTS), [])
        ends += [] if one.until_at is None else [one.until_at]
    for (scope, refused), ends in ends_by_said.items():
        facts = grant.caller.facts(grant.endpoint) | {"until_at": max(ends, default=None), "scope": scope}
        if refused:
            facts |= {"granted_at": grant.granted_at, "unsent": unsent}
        with translated_errors():
            conn.execute(statement("limiter.refused" if refused else "limiter.pause"), facts)


def apply_told(conn: Connection, grant: Grant, quotas: Sequence[Quota]) -> None:
    """Narrow the limits to what the partner says is left, and to its policy, where that is less than we think."""
    if told := _narrower(grant, quotas):
        facts = grant.caller.facts(grant.endpoint) | {"told": Jsonb(told)}
        with translated_errors():
            conn.execute(statement("limiter.told"), facts)


def _narrower(grant: Grant, quotas: Sequence[Quota]) -> list[dict[str, object]]:
    """What the limits do not know yet; the smallest figure for each of them."""
    binding = grant.caller.binding(grant.endpoint)
    found: list[dict[str, object]] = []
    for quota in sorted(quotas, key=lambda quota: math.inf if quota.remaining is None else quota.remaining):
        place = binding.place_of(quota)
        fact: dict[str, object] = {"limit": place + 1}
        if quota.remaining is not None and (quota.remaining < 1 or quota.remaining < grant.left[place]):
            seconds = quota.window_seconds or UNNAMED_PAUSE_SECONDS
            until_at = quota.reset_at or grant.moment(time.monotonic()) + timedelta(seconds=seconds)
            fact |= {"left": max(0, quota.remaining), "until_at": until_at.isoformat()}
        if quota.requests and binding.same_window(quota) and quota.requests < binding.limits[place]["requests"]:
            fact |= {"requests": quota.requests}
        if len(fact) > 1 and all(fact["limit"] != other["limit"] for other in found):
            found.append(fact)
    return found


def ask(conn: Connection, caller: Caller, asked: Asked) -> Grant:
    """One question to the ledger. Raises ConfigError inside a transaction."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise ConfigError(problem="Grants are taken outside of transactions: a rollback would forget calls that left.")
    ended = asked.finished if asked.finished and asked.finished.grant_id is not None else None
    values = caller.facts(asked.endpoint) | {
        "call_class": caller.call_class,
        "count": asked.count,
        "hold_seconds": asked.hold_seconds,
        "lease_seconds": caller.limits.lease_seconds,
        "finished": ended.grant_id if ended else None,
        "finished_buckets": list(ended.buckets) if ended else None,
        "left_at": asked.left_at,
        "lead_seconds": min(LEAD_SECONDS, asked.hold_seconds),
    }
    started = time.monotonic()
    with translated_errors():
        row = _row(conn.execute(statement("limiter.acquire"), values).fetchone())
    return Grant(
        count=row["calls"],
        granted_at=row["granted_at"],
        expires_at=row["expires_at"],
        retry_at=row["retry_at"],
        reason=row["reason"],
        caller=caller,
        endpoint=asked.endpoint,
        clock_at=row["clock_at"],
        asked_at=started,
        answered_at=time.monotonic(),
        grant_id=row["grant_id"],
        buckets=tuple(row["buckets"]),
        left=tuple(room - row["calls"] for room in row["rooms"]),
    )


def _row(row: dict[str, object] | None) -> dict[str, Any]:
    if row is None:
        raise ConfigError(problem="The limiter's functions return one row.")
    return row
