"""The gate of a push: calls are granted in batches before the claim, and each leaves on a permit of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from partner_sync.circuit import Tally, report_calls
from partner_sync.database import Connection
from partner_sync.errors import LimitReachedError
from partner_sync.grants import Asked, CallClass, Caller, Grant, ask, finish_grant, free_places
from partner_sync.kinds.interface import Quota
from partner_sync.limiter import PrepaidGate
from partner_sync.limits import limits_of
from partner_sync.partners.model import Partner


@dataclass(eq=False)
class _Open:
    """A grant of which calls may still leave, or are on their way: ``out`` permits have not come back, and ``freed`` of
    those that have do not count as in flight any more.
    """

    grant: Grant
    gate: PrepaidGate
    endpoint: str
    office: str | None
    out: int
    freed: int = 0

    def came_back(self) -> int:
        """How many calls have come back since the last time, where calls in flight are counted."""
        back = self.grant.count - self.out - self.freed if self.grant.leases else 0
        self.freed += back
        return back


@dataclass(eq=False)
class Permit:
    """One granted call."""

    opened: _Open = field(repr=False)
    used: bool = False


class _Here(threading.local):
    """What the call of this thread leaves on."""

    def __init__(self) -> None:
        self.permit: Permit | None = None
        self.gate: PrepaidGate | None = None
        self.left_at: float | None = None
        # Grants for further calls than the permit's.
        self.own: list[_Open] = []


class Turnstile:
    """A Gate whose calls are granted in batches on the pusher's own connection; ``lock`` is held while it is used.

    A thread's calls leave on the permit that it is ``passing`` with. One that needs more calls than one (the next page
    of a read-back, a visit that has to be looked up first), or a call to another endpoint, asks for a grant of its own.
    """

    def __init__(
        self,
        conn: Connection,
        partner: Partner,
        *,
        organization: str,
        call_class: CallClass,
        lock: threading.Lock | None = None,
    ) -> None:
        self._conn = conn
        self._partner = partner.slug
        self._organization = organization
        self._limits = limits_of(partner)
        self._caller = Caller(
            partner=partner.slug, organization=organization, limits=self._limits, call_class=call_class
        )
        self._by_endpoint = any(limit.scope == "endpoint" for limit in partner.limits)
        self._connection_lock = lock or threading.Lock()
        self._lock = threading.Lock()
        self._opened: list[_Open] = []
        # Grants that are over, and when their last calls left. The next question to the ledger ends one of them too.
        self._over: list[tuple[Grant, datetime]] = []
        self._here = _Here()
        self._told_to_stop = threading.Event()
        self._tally = Tally()

    @property
    def told_to_stop(self) -> bool:
        """Whether the partner has asked us to slow down: nothing leaves until ``go_on``."""
        return self._told_to_stop.is_set()

    def go_on(self) -> None:
        """What the partner said has been written down (``finish``): from now on the ledger decides."""
        self._told_to_stop.clear()

    def permits(self, count: int, *, endpoint: str, office: str | None = None) -> tuple[list[Permit], Grant]:
        """Up to ``count`` calls that may leave, and their grant, which says why they are fewer and when more fit."""
        grant = self._acquire(count, endpoint, office=office)
        opened = self._open(grant, endpoint, office=office)
        return [Permit(opened) for _ in range(grant.count)], grant

    def returned(self, permit: Permit) -> None:
        """The call of this permit came back, or will never leave."""
        with self._lock:
            permit.opened.out -= 1

    def finish(self) -> frozenset[tuple[str, str | None]]:
        """Write down what the partner has said, for everybody, and close the grants of which nothing is on its way:
        ``end_grants``, or the next grant, makes them count from when they left. Calls in flight that are back free
        their places one by one. Returns the endpoints and offices for which more may be granted by that.
        """
        with self._lock:
            opened, self._opened = self._opened, [each for each in self._opened if each.out > 0]
        with self._connection_lock:
            changed = [each for each in opened if self._write_down(each)]
        self._report()
        return frozenset((each.endpoint, each.office) for each in changed)

    def _write_down(self, opened: _Open) -> bool:
        """Whether more may be granted by that."""
        if opened.out <= 0:
            grant = opened.gate.settle(self._conn)
            if grant.count:
                self._over.append((grant, opened.gate.left_at))
            return grant.count > 0
        opened.gate.apply(self._conn)
        back = opened.came_back()
        if back:
            free_places(self._conn, opened.grant, back)
        return back > 0

    def end_grants(self) -> None:
        """Let the grants that are over count from when their last calls left, no longer from their expiry."""
        with self._connection_lock:
            over, self._over = self._over, []
            for grant, left_at in over:
                finish_grant(self._conn, grant, left_at=left_at)

    @contextmanager
    def passing(self, permit: Permit) -> Iterator[None]:
        """What this thread calls inside leaves on the permit."""
        here = self._here
        here.permit, here.gate, here.left_at, here.own = permit, permit.opened.gate, None, []
        try:
            yield
        finally:
            here.permit = None
            with self._lock:
                for opened in here.own:
                    opened.out = 0

    @property
    def left_at(self) -> float | None:
        """When this thread's last call left (monotonic); None when none has."""
        return self._here.left_at

    def take(self, endpoint: str) -> None:
        here = self._here
        permit = here.permit
        if permit is not None:
            # What the partner says meanwhile still counts.
            permit.opened.gate.wait()
        if permit is None or self.told_to_stop:
            raise LimitReachedError(partner=self._partner, retry_at=None)
        if permit.used or (self._by_endpoint and permit.opened.endpoint != endpoint):
            self._take_anew(endpoint, permit)
        else:
            permit.opened.gate.take(endpoint)
            permit.used = True
        here.left_at = time.monotonic()

    def now(self) -> datetime:
        gate = self._here.gate
        return gate.now() if gate else datetime.now(UTC)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        self._told_to_stop.set()
        if self._here.gate is not None:
            self._here.gate.heed(status=status, scope=scope, retry_at=retry_at)

    def told(self, quotas: Sequence[Quota]) -> None:
        if any(quota.remaining == 0 for quota in quotas):
            self._told_to_stop.set()
        if self._here.gate is not None:
            self._here.gate.told(quotas)

    def answered(self, *, reached: bool) -> None:
        self._tally.note(reached=reached)
        if self._tally.in_a_row >= self._limits.circuit.failures:
            # What was granted ahead must not run into a partner that is down: the ledger decides how it goes on.
            self._told_to_stop.set()

    def _report(self) -> None:
        if (calls := self._tally.take()) is not None:
            names = {"partner": self._partner, "organization": self._organization}
            with self._connection_lock:
                report_calls(self._conn, calls, **names, rule=self._limits.circuit)

    def _take_anew(self, endpoint: str, permit: Permit) -> None:
        # A probe that got through may be one call of several: the next needs a circuit that is closed.
        self._report()
        office = permit.opened.office
        grant = self._acquire(1, endpoint, office=office)
        if not grant.count:
            raise grant.refusal()
        opened = self._open(grant, endpoint, office=office)
        self._here.own.append(opened)
        self._here.gate = opened.gate
        opened.gate.take(endpoint)

    def _open(self, grant: Grant, endpoint: str, *, office: str | None) -> _Open:
        opened = _Open(grant, PrepaidGate(grant), endpoint, office, out=grant.count)
        with self._lock:
            self._opened.append(opened)
        return opened

    def _acquire(self, count: int, endpoint: str, *, office: str | None) -> Grant:
        caller = replace(self._caller, office=office)
        with self._connection_lock:
            # One transaction instead of two: it costs as much as the sending of some calls.
            finished, left_at = self._over.pop() if self._over else (None, None)
            hold_seconds = caller.limits.grant_ttl_seconds
            asked = Asked(count=count, endpoint=endpoint, hold_seconds=hold_seconds, finished=finished, left_at=left_at)
            return ask(self._conn, caller, asked)
