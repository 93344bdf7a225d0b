"""The engine of a push: calls are always on their way, while the database is asked and told in bulk beside them.

One thread, that of the caller, feeds and settles on the pusher's connection; the others make calls. A few errands more
than can be in flight are kept ready, claimed and granted, so that no thread waits for the database. How many depends on
how fast the calls are: each of them has to be looked up when this process dies.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from partner_sync.delivery.claims import Claims
from partner_sync.delivery.errands import Errand, Returned, run_errand
from partner_sync.delivery.feeder import Feeder
from partner_sync.delivery.stops import Stops
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.errors import DatabaseAwayError, PartnerSyncError
from partner_sync.kinds.interface import PartnerKind
from partner_sync.partners.model import Partner

#: A limit that opens so soon is waited for in place; for longer nobody holds a worker's slot (design, rule 10).
PATIENCE_SECONDS = 2.0
#: Errands are kept ready for so long ahead, and at most so many.
_AHEAD_SECONDS = 0.1
_MOST_AHEAD = 128
#: Answers are written down together; the first waits no longer than this.
_LINGER_SECONDS = 0.03
#: Over so many calls their time is averaged.
_REMEMBERED = 16


class Pipeline:
    """Sends what is due for one organization, until nothing is, time is up, or the limits say so."""

    def __init__(
        self,
        partner: Partner,
        kind: PartnerKind,
        *,
        claims: Claims,
        turnstile: Turnstile,
        max_attempts: int,
        ends_at: float | None,
    ) -> None:
        self._kind = kind
        self._claims = claims
        self._turnstile = turnstile
        self._max_attempts = max_attempts
        self._ends_at = ends_at
        self._concurrency = partner.concurrency
        self._settle_seconds = partner.timeouts.settle_after_seconds
        self._feeder = Feeder(partner, kind, claims=claims, turnstile=turnstile, max_attempts=max_attempts)
        self._stops = Stops(partner.slug, patience=partner.concurrency)
        self._closing = threading.Event()
        self._came: queue.SimpleQueue[Future[Returned]] = queue.SimpleQueue()
        self._out = 0
        # What came back and is not written yet: its visits are being edited.
        self._unwritten: list[Mapping[str, Any]] = []
        recoverable = kind.can.read_back or kind.can.idempotency_key
        in_flight_counts = any(limit.counts == "in_flight" for limit in partner.limits)
        self._pace = _Pace(partner.concurrency, keeps_ready=recoverable and not in_flight_counts)
        self._full = False

    def run(self) -> None:
        """Go on until nothing is due, or may leave. Everything that came back is written down, also when this raises,
        unless the database is away: then its outcome is unknown, and the next pusher looks it up.
        """
        away = False
        threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="push")
        try:
            while self._feed(threads):
                self._take_in(self._wait())
        except DatabaseAwayError:
            away = True
            raise
        finally:
            self._closing.set()
            threads.shutdown()
            if not away:
                self._take_in(self._all_that_came())
                self._turnstile.end_grants()
                self._claims.settle_soon(self._unwritten, max_attempts=self._max_attempts)

    @property
    def stopped_by(self) -> PartnerSyncError | None:
        """Why it has ended before everything that was due was done; None when it was not stopped."""
        refusal = self._feeder.refusal
        return self._stops.cause or self._stops.unreachable or (refusal[1] if refusal else None)

    @property
    def busy(self) -> int:
        """How many visits could not be claimed a moment ago: the product, or another pusher, has them in its hands."""
        return self._feeder.busy

    @property
    def time_is_left(self) -> bool:
        """Whether another call would come back in time."""
        return self._ends_at is None or time.monotonic() + self._pace.call_seconds < self._ends_at

    def _feed(self, threads: ThreadPoolExecutor) -> bool:
        """Hand out what may go; False when there is nothing to wait for any more."""
        if self._stops.cause is not None or not self.time_is_left:
            self._closing.set()
        if self._turnstile.told_to_stop and not self._out:
            # Written down by now; whether it is over, the ledger knows.
            self._turnstile.go_on()
        self._full = False
        if not (self._closing.is_set() or self._turnstile.told_to_stop):
            room = self._concurrency + self._pace.ahead - self._out
            errands = self._feeder.errands(room)
            self._full = len(errands) >= room
            self._out += len(errands)
            for errand in errands:
                threads.submit(self._run, errand).add_done_callback(self._came.put)
        self._turnstile.end_grants()
        return self._out > 0 or self._opens_in() is not None

    def _run(self, errand: Errand) -> Returned:
        if self._closing.is_set() or not self.time_is_left:
            return Returned(errand=errand, verdicts=None, left_at=None, seconds=0.0)
        return run_errand(self._kind, errand, self._turnstile)

    def _opens_in(self) -> float | None:
        """Seconds until a limit opens that is worth waiting for in place; a pause, and what a person holds, is not."""
        if self._closing.is_set() or self._feeder.refusal is None:
            return None
        opens_at, refusal = self._feeder.refusal
        seconds = max(0.0, opens_at - time.monotonic())
        in_time = self._ends_at is None or opens_at < self._ends_at
        return seconds if refusal.reason == "limit" and seconds <= PATIENCE_SECONDS and in_time else None

    def _wait(self) -> list[Future[Returned]]:
        """What has come back, when it is worth a trip to the database: few errands are ready, or some have waited."""
        opens_in = self._opens_in()
        if not self._out:
            time.sleep(opens_in or 0.0)
            return []
        came: list[Future[Returned]] = []
        until = None if opens_in is None else time.monotonic() + opens_in
        enough = self._out - self._concurrency - self._pace.ahead // 2 if self._full else self._out
        # An empty queue at the end of the time is what ends the wait.
        with suppress(queue.Empty):
            came.append(self._came.get(timeout=None if until is None else max(0.0, until - time.monotonic())))
            linger_until = time.monotonic() + _LINGER_SECONDS
            while len(came) < enough:
                came.append(self._came.get(timeout=max(0.0, linger_until - time.monotonic())))
        return came + self._all_that_came()

    def _all_that_came(self) -> list[Future[Returned]]:
        came: list[Future[Returned]] = []
        with suppress(queue.Empty):
            while True:
                came.append(self._came.get_nowait())
        return came

    def _take_in(self, came: Sequence[Future[Returned]]) -> None:
        """Write down what came back: what the partner said about the pace first."""
        self._out -= len(came)
        errors = [error for future in came if (error := future.exception()) is not None]
        returned = [future.result() for future in came if future.exception() is None]
        for each in returned:
            self._turnstile.returned(each.errand.permit)
            self._stops.hear(each)
        self._pace.note(returned)
        if finished := self._turnstile.finish():
            # A limit over several routes may be open for another than that of the grant: asked once, before the end.
            self._feeder.ask_again(finished, everywhere=not self._out)
        self._settle(returned)
        if errors:
            raise errors[0]

    def _settle(self, returned: Sequence[Returned]) -> None:
        if not_left := [one.attempt_id for each in returned if each.verdicts is None for one in each.errand.items]:
            self._claims.give_up(not_left)
        self._claims.note_look_ups(
            one for each in returned if each.errand.what == "look_up" for one in each.errand.items
        )
        items = [item for each in returned for item in self._items(each)] + self._unwritten
        if items:
            busy = self._claims.settle_free(items, max_attempts=self._max_attempts)
            self._unwritten = [item for item in items if item["attempt"] in busy]

    def _items(self, returned: Returned) -> list[Mapping[str, Any]]:
        """What sync.settle takes. A lost answer may be looked up when its call has been gone for the settle time."""
        seconds = self._settle_seconds
        if returned.left_at is not None and returned.errand.what != "look_up":
            seconds = max(0.0, seconds - (time.monotonic() - returned.left_at))
        return [
            verdict.as_item(one.attempt_id, settle_seconds=seconds)
            for one, verdict in zip(returned.errand.items, self._stops.judged(returned), strict=False)
        ]


class _Pace:
    """How long calls take, and so how many errands to keep ready beyond those on their way."""

    def __init__(self, concurrency: int, *, keeps_ready: bool) -> None:
        self._concurrency = concurrency
        # Without a way to look it up, each call that is ready when this process dies is one for a person; and one that
        # is ready holds a place among those in flight.
        self._most = _MOST_AHEAD if keeps_ready else 0
        self.call_seconds = 0.0

    @property
    def ahead(self) -> int:
        """As many as the threads could use up in a moment; of a partner of whom nothing is known yet, one for each."""
        if not self.call_seconds:
            return min(self._most, self._concurrency)
        return min(self._most, math.ceil(self._concurrency / self.call_seconds * _AHEAD_SECONDS))

    def note(self, returned: Sequence[Returned]) -> None:
        for each in returned:
            if each.left_at is not None:
                self.call_seconds += (each.seconds - self.call_seconds) / (_REMEMBERED if self.call_seconds else 1)
