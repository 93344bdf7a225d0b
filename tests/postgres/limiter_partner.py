"""A partner that counts arrivals on its own, by the definition of each kind and nothing else, in simulated time."""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from partner_sync.limiter import Grant, Heard, Limits, apply_heard, finish_grant
from partner_sync.limits import Limit, fixed_window
from postgres.limiter_clock import START, TestLedger

MICROSECOND = timedelta(microseconds=1)


@dataclass
class CountingPartner:
    """Accepts a call when all its limits do; refused calls are not counted."""

    limits: Sequence[Limit]
    arrivals: list[datetime] = field(default_factory=list)
    tokens: dict[int, tuple[float, datetime]] = field(default_factory=dict)

    def arrive(self, at: datetime) -> bool:
        """Arrivals come in the order of time."""
        accepted = all(self._has_room(place, at) for place in range(len(self.limits)))
        if accepted:
            self.arrivals.append(at)
            for place, limit in enumerate(self.limits):
                if limit.counts in {"token_bucket", "spaced"}:
                    self.tokens[place] = (self._tokens(place, at) - 1, at)
        return accepted

    def opens_at(self, at: datetime) -> datetime:
        """When it would accept a call, to a tenth of a second, by trying."""
        while not all(self._has_room(place, at) for place in range(len(self.limits))):
            at += timedelta(seconds=0.1)
        return at

    def _has_room(self, place: int, at: datetime) -> bool:
        limit = self.limits[place]
        if limit.counts == "sliding_window":
            return self._since(at - timedelta(seconds=limit.per_seconds) + MICROSECOND) < limit.requests
        if limit.counts == "fixed_window":
            return self._since(fixed_window(limit, at)[0]) < limit.requests
        return self._tokens(place, at) >= 1 - 1e-6

    def _since(self, at: datetime) -> int:
        return len(self.arrivals) - bisect.bisect_left(self.arrivals, at)

    def _tokens(self, place: int, at: datetime) -> float:
        limit = self.limits[place]
        burst = 1 if limit.counts == "spaced" else limit.burst or limit.requests
        tokens, last_at = self.tokens.get(place, (float(burst), START))
        return min(burst, tokens + (at - last_at).total_seconds() * limit.requests / limit.per_seconds)


@dataclass
class Engine:
    """A pusher as it is: batches of calls that take their time on the way, finished when the last one is back."""

    ledger: TestLedger
    limits: Limits
    partner: CountingPartner
    seed: int = 1
    batch: int = 4
    sent: list[datetime] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)

    def run(self, seconds: float, *, others: Sequence[datetime] = ()) -> None:
        """Push for so long with work without end, beside calls of ``others`` that nobody announced."""
        chance, waiting = random.Random(self.seed), list(others)
        at, ends_at = START, START + timedelta(seconds=seconds)
        while at < ends_at:
            grant = self.ledger.ask(self.limits, self.batch, at=at)
            if not grant.count:
                assert grant.retry_at is not None
                at = max(grant.retry_at, at + MICROSECOND)
                continue
            jitter = self.limits.jitter_seconds
            ways = (grant.granted_at + timedelta(seconds=chance.uniform(0, 0.1)) for _ in range(grant.count))
            # A call that has not gone by the grant's end asks again (design, rule 7).
            left = [min(way, grant.expires_at) for way in ways]
            arrive = sorted(one + timedelta(seconds=chance.uniform(0, jitter)) for one in left)
            refused = [one for one in arrive if not self._arrives(one, waiting)]
            self.sent += arrive
            self.refused += refused
            at = max(*left, grant.granted_at) + timedelta(seconds=jitter)
            self._end(grant, max(left), refused, at)

    def _arrives(self, at: datetime, waiting: list[datetime]) -> bool:
        while waiting and waiting[0] <= at:
            self.partner.arrive(waiting.pop(0))
        return self.partner.arrive(at)

    def _end(self, grant: Grant, left_at: datetime, refused: Sequence[datetime], at: datetime) -> None:
        self.ledger.at(at)
        finish_grant(self.ledger.conn, grant, left_at=left_at)
        if refused:
            until_at = self.partner.opens_at(refused[-1])
            heard = [Heard(scope=None, until_at=until_at)] * len(refused)
            apply_heard(self.ledger.conn, grant, heard, unsent=len(refused))
