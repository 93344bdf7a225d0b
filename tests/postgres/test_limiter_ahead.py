"""Where one call goes at a time the next is granted a moment before it may leave, and never leaves sooner."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.errors import LimitReachedError
from partner_sync.limiter import LedgerGate, Limit, Limits, PrepaidGate, acquire, finish_grant
from postgres.limiter_clock import START, TestLedger, after
from postgres.limiter_fleet import Fleet
from postgres.limiter_partner import CountingPartner
from postgres_server import Database

quick = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SPACED = Limit(scope="vendor", requests=2, per_seconds=1, counts="spaced")
LIMITS = Limits(limits=(SPACED,), jitter_seconds=0.0, grant_ttl_seconds=10.0)


def sent(ledger: TestLedger, *, limits: Limits = LIMITS, at: float = 0.0) -> None:
    """A call that left at once."""
    finish_grant(ledger.conn, ledger.ask(limits, 1, at=after(at)))


def test_the_next_call_is_granted_a_moment_ahead_and_no_earlier(ledger: TestLedger) -> None:
    sent(ledger)
    assert ledger.ask(LIMITS, at=after(0.3)).retry_at == after(0.35)
    grant = ledger.ask(LIMITS, 5, at=after(0.35))
    assert (grant.count, grant.granted_at, grant.clock_at) == (1, after(0.5), after(0.35))
    assert grant.expires_at == after(0.55)


def test_nobody_is_granted_a_moment_that_is_not_known_yet(ledger: TestLedger) -> None:
    """The call ahead has not left: it may leave until its grant ends, and the distance counts from there."""
    first = ledger.ask(LIMITS, at=START)
    assert first.expires_at == after(0.2)
    assert ledger.ask(LIMITS, at=after(0.5)).count == 0
    assert ledger.ask(LIMITS, at=after(0.6)).granted_at == after(0.7)


def test_a_process_that_dies_costs_one_moment(ledger: TestLedger) -> None:
    sent(ledger)
    assert ledger.ask(LIMITS, at=after(0.4)).granted_at == after(0.5)
    assert ledger.ask(LIMITS, at=after(1)).granted_at == after(1.1)


def test_a_window_beside_it_is_asked_about_that_moment(ledger: TestLedger) -> None:
    window = Limit(scope="vendor", requests=1, per_seconds=0.45)
    both = Limits(limits=(SPACED, window), jitter_seconds=0.0, grant_ttl_seconds=10.0)
    sent(ledger, limits=both)
    assert ledger.ask(both, at=after(0.4)).granted_at == after(0.5)
    wider = Limits(limits=(SPACED, Limit(scope="vendor", requests=2, per_seconds=60)), grant_ttl_seconds=10.0)
    sent(ledger, limits=wider, at=10)
    sent(ledger, limits=wider, at=20)
    assert ledger.ask(wider, at=after(20.6)).count == 0


def test_a_moment_that_is_refused_moves_nobody_elses_clock(ledger: TestLedger) -> None:
    wider = Limits(limits=(SPACED, Limit(scope="vendor", requests=1, per_seconds=60)), grant_ttl_seconds=10.0)
    sent(ledger, limits=wider)
    refused = ledger.ask(wider, at=after(0.6))
    assert (refused.count, refused.granted_at) == (0, after(0.6))
    assert ledger.ask(Limits(limits=()), at=after(0.6)).granted_at == after(0.6)


def test_a_gate_lets_the_call_go_when_its_moment_comes(database: Database) -> None:
    conn = database.connect("push")
    facts = {"partner": "honoka", "organization": "aoba", "limits": LIMITS, "call_class": "request"}
    looks: list[float] = []

    def clock() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    gate = PrepaidGate(acquire(conn, **facts, count=1), clock=clock)  # type: ignore[arg-type]  # a dict of any facts
    gate.take("PUT /v1/visits/{key}")
    left = looks[-1]
    gate.finish(conn)
    time.sleep(0.4)
    grant = acquire(conn, **facts, count=1)  # type: ignore[arg-type]  # the same
    ahead = PrepaidGate(grant, clock=clock)
    ahead.take("PUT /v1/visits/{key}")
    assert ahead.left_at >= grant.granted_at
    assert looks[-1] - left >= 0.5


def test_nobody_waits_for_a_clock_that_was_set_back(ledger: TestLedger) -> None:
    sent(ledger, at=3_600)
    grant = ledger.ask(Limits(limits=(Limit(scope="vendor", requests=9, per_seconds=60),)), at=START)
    assert (grant.count, grant.granted_at) == (1, after(3_600))
    assert grant.usable_from == grant.answered_at
    assert grant.usable_until - grant.asked_at == pytest.approx(10)
    refused = ledger.ask(LIMITS, at=START)
    assert refused.seconds_until_more < 1


def test_a_gate_that_is_late_asks_again(database: Database) -> None:
    conn = database.connect("push")
    grant = acquire(conn, partner="honoka", organization="aoba", limits=LIMITS, call_class="request", count=1)
    gate = PrepaidGate(grant)
    time.sleep(0.25)
    with pytest.raises(LimitReachedError):
        gate.take("PUT /v1/visits/{key}")


def test_a_call_that_leaves_at_once_waits_for_a_moment_that_somebody_was_given(database: Database) -> None:
    conn = database.connect("push")
    facts = {"partner": "honoka", "organization": "aoba", "call_class": "request"}
    finish_grant(conn, acquire(conn, **facts, limits=LIMITS, count=1))  # type: ignore[arg-type]  # a dict of any facts
    time.sleep(0.4)
    grant = acquire(conn, **facts, limits=LIMITS, count=1)  # type: ignore[arg-type]  # the same
    window = Limits(limits=(Limit(scope="vendor", requests=9, per_seconds=60),), grant_ttl_seconds=10.0)
    gate = LedgerGate(database.connect("push"), **facts, limits=window)  # type: ignore[arg-type]  # the same
    gate.take("GET /v1/patients")
    assert time.monotonic() >= grant.asked_at + (grant.granted_at - grant.clock_at).total_seconds()


kinds = st.builds(
    Limit,
    scope=st.sampled_from(["vendor", "organization"]),
    requests=st.integers(1, 12),
    per_seconds=st.sampled_from([1.0, 3.0]),
    counts=st.sampled_from(["sliding_window", "fixed_window", "token_bucket", "spaced"]),
)


@quick
@given(others=st.lists(kinds, max_size=2), requests=st.integers(1, 6), seed=st.integers(0, 99))
def test_several_pushers_never_come_too_close(
    ledger: TestLedger, others: list[Limit], requests: int, seed: int
) -> None:
    limits = (Limit(scope="vendor", requests=requests, per_seconds=1, counts="spaced"), *others)
    vendor = [limit for limit in limits if limit.scope == "vendor"]
    ledger.empty()
    fleet = Fleet(ledger, Limits(limits=limits, grant_ttl_seconds=10.0), CountingPartner(vendor), seed=seed)
    fleet.run(12, pushers=3)
    assert fleet.sent
    assert fleet.refused == []
    apart = 1 / requests + 0.2
    assert all((later - at).total_seconds() >= apart - 1e-6 for at, later in pairwise(sorted(fleet.left)))


def test_four_pushers_use_what_spacing_and_jitter_leave(ledger: TestLedger) -> None:
    limits = Limits(limits=(Limit(scope="vendor", requests=5, per_seconds=1, counts="spaced"),), grant_ttl_seconds=10.0)
    fleet = Fleet(ledger, limits, CountingPartner(limits.limits))
    fleet.run(60)
    assert fleet.refused == []
    assert len(fleet.sent) >= 0.97 * 60 / 0.4
