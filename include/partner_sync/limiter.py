"""Grants from the shared ledger: no call leaves without one (design, rules 7, 8 and 10).

The rules are in sql/migrations (0007_limiter.sql, 0008_grants.sql). ``acquire`` takes grants, ``pause`` narrows them at
once, ``LedgerGate`` and ``PrepaidGate`` are the two doors through which a kind's calls pass.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from partner_sync.circuit import Tally, report_calls
from partner_sync.database import Connection, translated_errors
from partner_sync.errors import CircuitOpenError, ConfigError, HeldError, LimitReachedError
from partner_sync.kinds.interface import Quota
from partner_sync.limits import Limit, Limits, seconds_for
from partner_sync.statements import statement

CallClass = Literal["request", "tick", "master"]
#: Why fewer calls were granted than asked for.
Reason = Literal["limit", "paused", "circuit_open", "held"]

#: How long to stop when the partner asks us to slow down and names no time.
UNNAMED_PAUSE_SECONDS = 30.0
#: A grant for a call that leaves at once: jitter_seconds covers the rest of its way.
_NO_HOLD_SECONDS = 0.0


@dataclass(frozen=True, kw_only=True)
class Grant:
    """``count`` calls that may leave until ``expires_at`` (the database's clock); 0 when none fits now.

    ``reason``: why it is fewer than was asked for, None when it is not. ``retry_at``: when one more fits; None also
    when that depends on a person (held). ``usable_until`` is the expiry by this process's monotonic clock, counted from
    before the question was sent.
    """

    count: int
    granted_at: datetime
    expires_at: datetime
    retry_at: datetime | None
    reason: Reason | None
    partner: str
    usable_until: float = field(repr=False)
    grant_id: int | None = field(repr=False)
    buckets: tuple[int, ...] = field(repr=False)

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
    """What a partner said about slowing down: the scope it named, if any, and until when."""

    scope: str | None
    until_at: datetime


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
    caller = _Caller(partner, organization, limits, call_class, office)
    return _ask(conn, caller, count=count, endpoint=endpoint, hold_seconds=limits.grant_ttl_seconds)


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


def finish_grant(conn: Connection, grant: Grant) -> None:
    """Say that no call of this grant leaves any more. What did not leave stays counted; but windows now count the grant
    from this moment on, not from its expiry, so that the next calls may leave earlier.
    """
    if grant.grant_id is not None:
        values = {"grant_id": grant.grant_id, "buckets": list(grant.buckets)}
        with translated_errors():
            conn.execute(statement("limiter.finish_grant"), values)


@dataclass(frozen=True)
class _Caller:
    partner: str
    organization: str
    limits: Limits
    call_class: CallClass
    office: str | None


def _ask(conn: Connection, caller: _Caller, *, count: int, endpoint: str | None, hold_seconds: float) -> Grant:
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise ConfigError(problem="Grants are taken outside of transactions: a rollback would forget calls that left.")
    values = {
        "partner": caller.partner,
        "organization": caller.organization,
        "call_class": caller.call_class,
        "count": count,
        "limits": Jsonb(caller.limits.binding(caller.organization, office=caller.office, endpoint=endpoint)),
        "jitter_seconds": caller.limits.jitter_seconds,
        "hold_seconds": hold_seconds,
    }
    asked = time.monotonic()
    with translated_errors():
        row = _row(conn.execute(statement("limiter.acquire"), values).fetchone())
    good_seconds = (row["expires_at"] - row["granted_at"]).total_seconds()
    return Grant(
        count=row["calls"],
        granted_at=row["granted_at"],
        expires_at=row["expires_at"],
        retry_at=row["retry_at"],
        reason=row["reason"],
        partner=caller.partner,
        usable_until=asked + good_seconds,
        grant_id=row["grant_id"],
        buckets=tuple(row["buckets"] or ()),
    )


def _row(row: dict[str, object] | None) -> dict[str, Any]:
    if row is None:
        raise ConfigError(problem="The limiter's functions return one row.")
    return row


class LedgerGate:
    """A gate that asks the ledger before each call. Serves several threads; needs a connection of its own.

    A grant that is at most ``patience_seconds`` away is waited for (rule 10: nobody sleeps for longer).
    """

    def __init__(
        self,
        conn: Connection,
        *,
        partner: str,
        organization: str,
        limits: Limits,
        call_class: CallClass,
        office: str | None = None,
        patience_seconds: float = 2.0,
    ) -> None:
        self._conn = conn
        self._caller = _Caller(partner, organization, limits, call_class, office)
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._tally = Tally()

    def take(self, endpoint: str) -> None:
        """Return when one call may leave, at once; raises LimitReachedError with the time to ask again."""
        give_up = time.monotonic() + self._patience_seconds
        while True:
            asked = time.monotonic()
            with self._lock:
                grant = _ask(self._conn, self._caller, count=1, endpoint=endpoint, hold_seconds=_NO_HOLD_SECONDS)
            if grant.count:
                if time.monotonic() - asked <= self._caller.limits.grant_ttl_seconds:
                    return
                continue
            wait_seconds = _wait_seconds(grant)
            if time.monotonic() + wait_seconds > give_up:
                raise grant.refusal()
            time.sleep(wait_seconds)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        """Pause at once, for everybody."""
        heard = _heard(scope, retry_at)
        with self._lock:
            pause(
                self._conn,
                partner=self._caller.partner,
                organization=self._caller.organization,
                until_at=heard.until_at,
                scope=heard.scope,
            )

    def told(self, quotas: Sequence[Quota]) -> None:
        """Not narrowed by it yet."""

    def answered(self, *, reached: bool) -> None:
        """Tell the circuits what matters to them, at once."""
        self._tally.note(reached=reached)
        with self._lock:
            if (calls := self._tally.take()) is not None:
                names = {"partner": self._caller.partner, "organization": self._caller.organization}
                report_calls(self._conn, calls, **names, rule=self._caller.limits.circuit)


class PrepaidGate:
    """A gate that hands out calls already granted, to several threads, and needs no connection.

    ``heard`` is what the partner said; the caller applies it with ``pause``. Once something was heard nothing more is
    handed out. After ``close`` nothing leaves either, so that the grant can be finished.
    """

    def __init__(self, grant: Grant, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._grant = grant
        self._clock = clock
        self._lock = threading.Lock()
        self._left = grant.count
        self._heard: list[Heard] = []

    @property
    def heard(self) -> tuple[Heard, ...]:
        with self._lock:
            return tuple(self._heard)

    def take(self, endpoint: str) -> None:
        """Hand out one call; raises LimitReachedError when all are used, the grant expired or the partner said stop."""
        with self._lock:
            if self._left < 1 or self._clock() >= self._grant.usable_until:
                raise LimitReachedError(partner=self._grant.partner, retry_at=self._ask_again_at())
            self._left -= 1

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        with self._lock:
            self._heard.append(_heard(scope, retry_at))
            self._left = 0

    def told(self, quotas: Sequence[Quota]) -> None:
        """Not narrowed by it yet."""

    def answered(self, *, reached: bool) -> None:
        """Counted by whoever took the grant: telling the circuits needs a connection."""

    def close(self) -> None:
        with self._lock:
            self._left = 0

    def _ask_again_at(self) -> datetime:
        told = [heard.until_at for heard in self._heard]
        return max([*told, self._grant.retry_at or datetime.now(UTC)])


def _wait_seconds(grant: Grant) -> float:
    return math.inf if grant.retry_at is None else (grant.retry_at - grant.granted_at).total_seconds()


def _heard(scope: str | None, retry_at: datetime | None) -> Heard:
    return Heard(scope=scope, until_at=retry_at or datetime.now(UTC) + timedelta(seconds=UNNAMED_PAUSE_SECONDS))


__all__ = [
    "CallClass", "Grant", "Heard", "LedgerGate", "Limit", "Limits", "PrepaidGate", "acquire", "finish_grant",
    "pause", "seconds_for",
]  # fmt: skip
