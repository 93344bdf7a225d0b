"""Several pushers at once in simulated time, each with several calls in flight and answers one by one."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from partner_sync.limiter import Grant, Heard, Limits, apply_heard, finish_grant
from postgres.limiter_clock import START, TestLedger
from postgres.limiter_partner import MICROSECOND, CountingPartner

#: How many calls of a pusher are on their way at most, and ready behind them.
IN_FLIGHT = 4
READY = 4


@dataclass
class Fleet:
    """Pushers with work without end, one organization each, and what their partner saw."""

    ledger: TestLedger
    limits: Limits
    partner: CountingPartner
    names_time: bool = False
    seed: int = 1
    left: list[datetime] = field(default_factory=list)
    sent: list[datetime] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now = START
        self._numbers = count()
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []

    def run(self, seconds: float, *, pushers: int = 4, others: Iterable[datetime] = ()) -> None:
        """Beside calls of ``others`` that nobody announced."""
        for number in range(pushers):
            self.at(START, Pusher(self, f"org{number}").go_on)
        for at in others:
            self.at(at, lambda: self.partner.arrive(self.now) and None)
        ends_at = START + timedelta(seconds=seconds)
        while self._events and self._events[0][0] < ends_at:
            self.now, _, happen = heapq.heappop(self._events)
            happen()

    def at(self, moment: datetime, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(moment, self.now), next(self._numbers), happen))

    def within(self, least: float, most: float) -> datetime:
        return self.now + timedelta(seconds=self.chance.uniform(least, most))

    def refused_share(self, after_seconds: float) -> float:
        """Of our calls that arrived later than that."""
        since = START + timedelta(seconds=after_seconds)
        return sum(at >= since for at in self.refused) / max(1, sum(at >= since for at in self.sent))

    def got_through(self, after_seconds: float) -> int:
        since = START + timedelta(seconds=after_seconds)
        return sum(at >= since for at in self.sent) - sum(at >= since for at in self.refused)


@dataclass
class _Taken:
    grant: Grant
    out: int
    left_at: datetime
    refused: int = 0


@dataclass
class Pusher:
    """One process: it stops at a refusal until what it has on its way is back, and asks again when it is told to."""

    fleet: Fleet
    organization: str
    in_flight: int = 0
    stopped: bool = False
    opens_at: datetime = START
    ready: deque[_Taken] = field(default_factory=deque)

    def go_on(self) -> None:
        """Hand out what may go."""
        fleet = self.fleet
        while self.stopped and self.ready:
            self._back(self.ready.popleft(), unsent=0)
        if self.in_flight == 0 and self.stopped:
            self.stopped, self.opens_at = False, fleet.now
        room = IN_FLIGHT + READY - self.in_flight - len(self.ready)
        if not self.stopped and room > 0 and fleet.now >= self.opens_at:
            grant = fleet.ledger.ask(fleet.limits, room, at=fleet.now, organization=self.organization)
            self.ready.extend([_Taken(grant, grant.count, fleet.now)] * grant.count)
            if grant.count < room and grant.retry_at is not None:
                self.opens_at = max(grant.retry_at, fleet.now + MICROSECOND)
                fleet.at(self.opens_at, self.go_on)
        while self.ready and self.in_flight < IN_FLIGHT:
            self._leave(self.ready.popleft())

    def _leave(self, taken: _Taken) -> None:
        """A call goes when its grant lets it, or somewhat later; after the end of the grant it asks again."""
        self.in_flight += 1
        self.fleet.at(max(taken.grant.granted_at, self.fleet.within(0, 0.01)), lambda: self._left(taken))

    def _left(self, taken: _Taken) -> None:
        fleet = self.fleet
        if fleet.now >= taken.grant.expires_at:
            self._answered(taken, accepted=True)
            return
        taken.left_at = fleet.now
        fleet.left.append(fleet.now)
        fleet.at(fleet.within(0, fleet.limits.jitter_seconds), lambda: self._arrive(taken))

    def _arrive(self, taken: _Taken) -> None:
        fleet = self.fleet
        accepted = fleet.partner.arrive(fleet.now)
        fleet.sent.append(fleet.now)
        if not accepted:
            fleet.refused.append(fleet.now)
        fleet.at(fleet.within(0.02, 0.08), lambda: self._answered(taken, accepted=accepted))

    def _answered(self, taken: _Taken, *, accepted: bool) -> None:
        self.in_flight -= 1
        self.stopped = self.stopped or not accepted
        self._back(taken, unsent=0 if accepted else 1)
        self.go_on()

    def _back(self, taken: _Taken, *, unsent: int) -> None:
        taken.out -= 1
        taken.refused += unsent
        conn = self.fleet.ledger.conn
        self.fleet.ledger.at(self.fleet.now)
        if unsent:
            until_at = self.fleet.partner.opens_at(self.fleet.now) if self.fleet.names_time else None
            apply_heard(conn, taken.grant, [Heard(scope=None, until_at=until_at)], unsent=1)
        if taken.out == 0:
            finish_grant(conn, taken.grant, left_at=taken.left_at)
