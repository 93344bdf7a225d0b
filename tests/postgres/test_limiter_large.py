"""A limit over a day stays as fast as one over a second, however many calls it counts."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

from partner_sync.limiter import Limit, Limits
from postgres.limiter_clock import TestLedger, after

DAY = 86_400.0
BOTH = Limits(
    limits=(
        Limit(scope="vendor", requests=10, per_seconds=1),
        Limit(scope="vendor", requests=100_000, per_seconds=DAY),
        Limit(scope="organization", requests=100_000, per_seconds=DAY, counts="token_bucket"),
    ),
    jitter_seconds=0.0,
    grant_ttl_seconds=0.0,
)
#: One row a call, a call each 0.8 s, up to the moment of the test.
_ROWS = """
insert into sync.rate_ledger
select b.id, %(now)s::timestamptz - make_interval(secs => (%(rows)s - n) * 0.8), n, 1
from sync.rate_bucket b, generate_series(1, %(rows)s) n
"""
_SUMS = "update sync.rate_bucket set granted = %(rows)s, logged = %(rows)s, logged_at = %(now)s, last_at = %(now)s"


def filled(ledger: TestLedger, rows: int) -> None:
    """A ledger with so many rows of the last day, as if the limits had been there all the time."""
    ledger.empty()
    ledger.ask(BOTH, at=after(-DAY))
    ledger.admin.execute("truncate sync.rate_ledger")
    facts = {"rows": rows, "now": after(0)}
    ledger.admin.execute(_ROWS, facts)
    ledger.admin.execute(_SUMS, facts)


def microseconds_of_a_grant(ledger: TestLedger, first: float) -> float:
    """The median, which the rest of the machine hardly touches."""
    spent = []
    for step in range(60):
        started = time.perf_counter()
        assert ledger.ask(BOTH, at=after(first + step)).count == 1
        spent.append((time.perf_counter() - started) * 1e6)
    return statistics.median(spent)


def test_a_grant_takes_as_long_with_a_hundred_thousand_rows_as_with_a_hundred(ledger: TestLedger) -> None:
    filled(ledger, 100)
    few = min(microseconds_of_a_grant(ledger, first) for first in (1, 101, 201))
    filled(ledger, 99_000)
    many = min(microseconds_of_a_grant(ledger, first) for first in (1, 101, 201))
    assert many <= 2 * few


def test_a_refusal_on_a_full_day_names_its_time_as_fast(ledger: TestLedger) -> None:
    filled(ledger, 100_000)
    spent = []
    for step in range(20):
        started = time.perf_counter()
        refused = ledger.ask(BOTH, at=after(0.1 + 0.01 * step))
        spent.append(time.perf_counter() - started)
        assert refused.retry_at == after(0) - timedelta(seconds=99_999 * 0.8) + timedelta(seconds=DAY)
    assert min(spent) < 0.02


def test_a_full_day_opens_call_by_call_as_it_slides(ledger: TestLedger) -> None:
    filled(ledger, 100_000)
    assert ledger.ask(BOTH, 50, at=after(DAY - 99_999 * 0.8 - 0.001)).count == 0
    assert ledger.ask(BOTH, 50, at=after(DAY - 99_999 * 0.8)).count == 1
    assert ledger.ask(BOTH, 50, at=after(DAY - 99_995 * 0.8)).count == 4
