"""Circuits, which open by themselves after repeated failure, and holds, which a person sets.

The ledger heeds both when it grants calls (sql/migrations/0013_circuit.sql). Here is what tells it of failures, and
what shows who is stopped and why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Literal

from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import (
    CircuitOpenError,
    HeldError,
    LimitReachedError,
    OrganizationHeldError,
    PartnerHeldError,
    PartnerUnavailableError,
)
from partner_sync.statements import statement

#: How often calls that get through are told: one organization's failures speak against the partner only while nobody's
#: calls get through.
TELL_EVERY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class CircuitRule:
    """When circuits open, and for how long; the key ``circuit`` of a partner file.

    ``probe_seconds``: after so long a probe counts as lost, and the next one may leave.
    """

    failures: int = 10
    open_seconds: float = 30.0
    longest_open_seconds: float = 600.0
    organizations: int = 3
    probe_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Calls:
    """How many calls got through, and how many have failed since the last of these."""

    reached: int = 0
    failed: int = 0


class Tally:
    """What became of the calls of one gate, until the ledger is told. Serves several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls = Calls()
        self._in_a_row = 0
        self._told_at: float | None = None

    def note(self, *, reached: bool) -> None:
        """One call got through, or did not."""
        with self._lock:
            self._in_a_row = 0 if reached else self._in_a_row + 1
            if reached:
                self._calls = Calls(reached=self._calls.reached + 1)
            else:
                self._calls = Calls(reached=self._calls.reached, failed=self._calls.failed + 1)

    @property
    def in_a_row(self) -> int:
        """How many calls have failed since the last that got through, told or not."""
        return self._in_a_row

    def take(self) -> Calls | None:
        """What is to be told now: every failure, and the first call that gets through, also after a failure, at once;
        else what got through every few seconds. None when there is nothing.
        """
        with self._lock:
            told, now = self._calls, self._clock()
            fresh = self._told_at is not None and now - self._told_at < TELL_EVERY_SECONDS
            if told == Calls() or (fresh and not told.failed):
                return None
            self._calls = Calls()
            self._told_at = None if told.failed else now
            return told


def report_calls(conn: Connection, calls: Calls, *, partner: str, organization: str, rule: CircuitRule) -> None:
    """Tell what became of calls: circuits open and close by it. As login sync_extract, sync_push or sync_onboarding."""
    facts = {"partner": partner, "organization": organization, "rule": Jsonb(asdict(rule))} | asdict(calls)
    with translated_errors():
        conn.execute(statement("circuit.report_calls"), facts)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What is held, or has a circuit that is not closed; ``organization`` '' is the partner as a whole.

    ``until_at``: when a circuit lets the next call probe; None for a hold. ``reason`` and ``by``: of a hold, as a
    person typed them. ``failures``: of a circuit.
    """

    partner: str
    organization: str
    state: Literal["held", "open", "half_open"]
    since_at: datetime
    until_at: datetime | None
    reason: str | None = field(repr=False)
    by: str | None
    failures: int

    def refusal(self) -> HeldError | CircuitOpenError:
        """The error of a call that this stops."""
        if self.state != "held":
            return CircuitOpenError(partner=self.partner, retry_at=self.until_at)
        if self.organization:
            return OrganizationHeldError(partner=self.partner)
        return PartnerHeldError(partner=self.partner)


@dataclass(frozen=True)
class Stops:
    """All that is stopped of a partner at one moment."""

    found: tuple[Stop, ...]

    def of(self, organization: str) -> Stop | None:
        """What stops an organization's calls: a hold before a circuit, the partner's before its own. A circuit that is
        half open stops nothing: somebody has to probe.
        """
        mine = [each for each in self.found if each.organization in ("", organization) and each.state != "half_open"]
        return min(mine, key=lambda each: (each.state != "held", each.organization), default=None)


def stops(conn: Connection, *, partner: str | None = None) -> Stops:
    """What is held or not closed, of a partner or of all (None). Not for sync_validate, sync_merge and sync_product."""
    with translated_errors():
        rows = conn.execute(statement("circuit.stops"), {"partner": partner}).fetchall()
    return Stops(tuple(Stop(**row) for row in rows))


@contextmanager
def heeding_stops(conn: Connection, *, partner: str, organization: str) -> Iterator[None]:
    """Work of an organization: not begun while it is stopped, and ended in the words of what stops it.

    Raises HeldError and CircuitOpenError; the latter also in place of the PartnerUnavailableError of the call that
    opened the circuit: who can wait for the next probe need not count that as a failed try. A circuit that was open and
    is no longer is LimitReachedError.
    """
    _refuse(stops(conn, partner=partner).of(organization))
    try:
        yield
    except (HeldError, CircuitOpenError, PartnerUnavailableError) as error:
        _refuse(stops(conn, partner=partner).of(organization))
        if isinstance(error, CircuitOpenError):
            raise LimitReachedError(partner=partner, retry_at=error.retry_at, reason=error.reason) from None
        raise


def _refuse(stop: Stop | None) -> None:
    if stop is not None:
        raise stop.refusal() from None


def set_hold(conn: Connection, *, partner: str, organization: str, held: bool, reason: str, by: str) -> bool:
    """Hold or resume a partner (organization '') or one of its organizations, as login sync_run.

    Nothing is lost: what would have been sent stays due. Returns whether it was news.
    """
    facts = {"partner": partner, "organization": organization, "held": held, "reason": reason, "by": by}
    with translated_errors():
        row = conn.execute(statement("circuit.set_hold"), facts).fetchone()
    return bool(row and row["news"])
