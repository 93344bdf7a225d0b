"""The doors through which a kind's calls pass: no call leaves without a grant from the shared ledger (design, rule 7).

``LedgerGate`` asks before each call, ``PrepaidGate`` hands out what was granted before. Both heed what the partner says
(rule 8). Grants themselves: partner_sync.grants, whose names can be imported from here too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from partner_sync.circuit import Tally, report_calls
from partner_sync.database import Connection
from partner_sync.errors import LimitReachedError
from partner_sync.grants import (
    Asked,
    CallClass,
    Caller,
    Grant,
    Heard,
    Reason,
    acquire,
    apply_heard,
    apply_told,
    ask,
    finish_grant,
    free_places,
    pause,
    queue_up,
)
from partner_sync.kinds.interface import Quota
from partner_sync.limits import Limit, Limits, seconds_for

#: A grant for a call that leaves at once: jitter_seconds covers the rest of its way.
_NO_HOLD_SECONDS = 0.0


def renew(conn: Connection, gate: PrepaidGate, *, count: int, endpoint: str | None) -> Grant:
    """Close a gate and take the next calls for the same caller: ``PrepaidGate.finish`` and ``acquire`` in one
    transaction (but for what the partner said, which counts first).
    """
    grant = gate.settle(conn)
    asked = Asked(
        count=count,
        endpoint=endpoint,
        hold_seconds=grant.caller.limits.grant_ttl_seconds,
        finished=grant,
        left_at=gate.left_at,
    )
    return ask(conn, grant.caller, asked)


class LedgerGate:
    """A gate that asks the ledger before each call. Serves several threads; needs a connection of its own.

    A grant that is at most ``patience_seconds`` away is waited for (rule 10: nobody sleeps for longer). What the
    partner says is applied at once, for everybody. A thread makes one call at a time.
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
        self._caller = Caller(
            partner=partner, organization=organization, limits=limits, call_class=call_class, office=office
        )
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._tally = Tally()
        self._calls = threading.local()

    def take(self, endpoint: str) -> None:
        """Return when one call may leave, at once; raises LimitReachedError with the time to ask again."""
        give_up = time.monotonic() + self._patience_seconds
        asked = Asked(count=1, endpoint=endpoint, hold_seconds=_NO_HOLD_SECONDS)
        while True:
            started = time.monotonic()
            with self._lock:
                grant = ask(self._conn, self._caller, asked)
            if grant.count:
                _wait_for(grant)
                self._calls.grant = grant
                if time.monotonic() - started <= self._caller.limits.grant_ttl_seconds:
                    return
                continue
            wait_seconds = grant.seconds_until_more
            if time.monotonic() + wait_seconds > give_up:
                raise grant.refusal()
            time.sleep(wait_seconds)

    def now(self) -> datetime:
        grant = self._granted()
        return grant.moment(time.monotonic()) if grant else datetime.now(UTC)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        """Pause at once, for everybody."""
        heard = Heard.of(status=status, scope=scope, retry_at=retry_at)
        with self._lock:
            if (grant := self._granted()) is not None:
                apply_heard(self._conn, grant, [heard], unsent=1)
            else:
                names = {"partner": self._caller.partner, "organization": self._caller.organization}
                pause(self._conn, **names, until_at=heard.ends_at, scope=heard.scope)

    def told(self, quotas: Sequence[Quota]) -> None:
        with self._lock:
            if (grant := self._granted()) is not None:
                apply_told(self._conn, grant, quotas)

    def answered(self, *, reached: bool) -> None:
        """The call is back: its place among the calls in flight is free, and the circuits hear what matters to them."""
        self._tally.note(reached=reached)
        grant = self._granted()
        with self._lock:
            if (calls := self._tally.take()) is not None:
                names = {"partner": self._caller.partner, "organization": self._caller.organization}
                report_calls(self._conn, calls, **names, rule=self._caller.limits.circuit)
            if grant is not None and grant.leases:
                self._calls.grant = None
                finish_grant(self._conn, grant)

    def _granted(self) -> Grant | None:
        """The last grant of the thread that asks."""
        grant: Grant | None = getattr(self._calls, "grant", None)
        return grant


class PrepaidGate:
    """A gate that hands out calls already granted, to several threads, and needs no connection.

    Once the partner said stop nothing more is handed out, and no more than it says is left. ``finish`` closes it and
    applies what was ``heard`` for everybody.
    """

    def __init__(self, grant: Grant, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._grant = grant
        self._clock = clock
        self._lock = threading.Lock()
        self._left = grant.count
        self._taken_at = grant.asked_at
        self._heard: list[Heard] = []
        self._quotas: list[Quota] = []
        self._applied = (0, 0)
        # Calls that did not leave because the partner said stop.
        self._kept_back = 0

    @property
    def heard(self) -> tuple[Heard, ...]:
        with self._lock:
            return tuple(self._heard)

    @property
    def left_at(self) -> datetime:
        """When the last call left, by the database's clock, at the latest."""
        return self._grant.moment(self._taken_at)

    def take(self, endpoint: str) -> None:
        """Hand out one call when its moment has come, which is a part of a second away at most.

        Raises LimitReachedError when all are used, the grant expired or the partner said stop.
        """
        self.wait()
        with self._lock:
            now = self._clock()
            if self._left < 1 or now >= self._grant.usable_until:
                raise self._refusal()
            self._left -= 1
            self._taken_at = now

    def wait(self) -> None:
        """Until the moment from which its calls may leave."""
        _wait_for(self._grant, self._clock)

    def now(self) -> datetime:
        return self._grant.moment(self._clock())

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        with self._lock:
            self._heard.append(Heard.of(status=status, scope=scope, retry_at=retry_at))
            self._kept_back, self._left = self._kept_back + self._left, 0

    def told(self, quotas: Sequence[Quota]) -> None:
        with self._lock:
            self._quotas += quotas
            self._left = min([self._left, *(quota.remaining for quota in quotas if quota.remaining is not None)])

    def answered(self, *, reached: bool) -> None:
        """Nothing: whoever took the grant frees calls in flight and tells the circuits, on its connection."""

    def close(self) -> None:
        with self._lock:
            self._left = 0

    def apply(self, conn: Connection) -> None:
        """Apply what the partner has said since the last time, for everybody."""
        with self._lock:
            heard, quotas = self._heard[self._applied[0] :], self._quotas[self._applied[1] :]
            self._applied = (len(self._heard), len(self._quotas))
            unsent, self._kept_back = len(heard) + self._kept_back, 0
        if heard:
            apply_heard(conn, self._grant, heard, unsent=unsent)
        apply_told(conn, self._grant, quotas)

    def settle(self, conn: Connection) -> Grant:
        """No call leaves any more: apply what the partner said. The grant is still to be finished."""
        self.close()
        self.apply(conn)
        return self._grant

    def finish(self, conn: Connection) -> None:
        """``settle``, and from now on the grant counts from when its last call left."""
        finish_grant(conn, self.settle(conn), left_at=self.left_at)

    def _refusal(self) -> LimitReachedError:
        said = [heard.ends_at for heard in self._heard]
        said += [quota.reset_at for quota in self._quotas if quota.remaining == 0 and quota.reset_at is not None]
        retry_at = max([*said, self._grant.retry_at or datetime.now(UTC)])
        return LimitReachedError(partner=self._grant.partner, retry_at=retry_at, reason="paused" if said else "limit")


def _wait_for(grant: Grant, clock: Callable[[], float] = time.monotonic) -> None:
    """Until the moment from which the calls of a grant may leave."""
    if (early := grant.usable_from - clock()) > 0:
        time.sleep(early)


__all__ = [
    "CallClass", "Caller", "Grant", "Heard", "LedgerGate", "Limit", "Limits", "PrepaidGate", "Reason", "acquire",
    "apply_heard", "apply_told", "finish_grant", "free_places", "pause", "queue_up", "renew", "seconds_for",
]  # fmt: skip
