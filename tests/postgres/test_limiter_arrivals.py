"""Judged by a partner that counts arrivals on its own: never too many, hardly fewer than could be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.limiter import Limit, Limits
from postgres.limiter_clock import START, TestLedger
from postgres.limiter_partner import CountingPartner, Engine

quick = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JITTER_SECONDS = 0.2
SLIDING = Limit(scope="vendor", requests=20, per_seconds=5)
FIXED = Limit(scope="vendor", requests=20, per_seconds=5, counts="fixed_window", zone="Asia/Tokyo", anchor="00:01")
TOKENS = Limit(scope="vendor", requests=20, per_seconds=5, counts="token_bucket", burst=8)
SPACED = Limit(scope="vendor", requests=2, per_seconds=1, counts="spaced")


def engine_of(ledger: TestLedger, *limits: Limit, seed: int = 1, batch: int = 4) -> Engine:
    ledger.empty()
    policy = Limits(limits=limits, jitter_seconds=JITTER_SECONDS, grant_ttl_seconds=2.0)
    return Engine(ledger, policy, CountingPartner(limits), seed=seed, batch=batch)


kinds = st.builds(
    Limit,
    scope=st.sampled_from(["vendor", "organization"]),
    requests=st.integers(1, 30),
    per_seconds=st.sampled_from([1.0, 3.0, 7.5]),
    counts=st.sampled_from(["sliding_window", "fixed_window", "token_bucket", "spaced"]),
)


@quick
@given(limits=st.lists(kinds, min_size=1, max_size=3), seed=st.integers(0, 99), batch=st.integers(1, 9))
def test_the_partner_never_sees_too_many_calls(ledger: TestLedger, limits: list[Limit], seed: int, batch: int) -> None:
    engine = engine_of(ledger, *limits, seed=seed, batch=batch)
    engine.run(15)
    assert engine.sent
    assert engine.refused == []


@pytest.mark.parametrize("limit", [SLIDING, FIXED, TOKENS, SPACED], ids=lambda limit: str(limit.counts))
def test_what_the_partner_allows_is_used(ledger: TestLedger, limit: Limit) -> None:
    """Lost is jitter once a window (twice: at both edges of a fixed one), and 0.1 s, in which the batch leaves."""
    engine = engine_of(ledger, limit, batch=1 if limit is SPACED else 4)
    engine.run(60)
    lost = {"fixed_window": 0.0, "token_bucket": 0.0, "sliding_window": 0.3, "spaced": 0.3}[limit.counts]
    window = limit.per_seconds / limit.requests if limit is SPACED else limit.per_seconds
    assert len(engine.sent) >= 0.98 * 60 * limit.requests / limit.per_seconds * window / (window + lost)
    assert engine.refused == []


SHARED = {
    "sliding_window": Limit(scope="organization", requests=120, per_seconds=60),
    "fixed_window": Limit(scope="organization", requests=120, per_seconds=60, counts="fixed_window"),
    "token_bucket": Limit(scope="organization", requests=120, per_seconds=60, counts="token_bucket", burst=30),
}


@pytest.mark.parametrize("limit", SHARED.values(), ids=SHARED)
def test_a_second_client_that_eats_half_the_quota_hardly_ever_costs_a_429(ledger: TestLedger, limit: Limit) -> None:
    engine = engine_of(ledger, limit)
    engine.run(900, others=[START + timedelta(seconds=second) for second in range(900)])
    minute = START + timedelta(seconds=60)
    late = [at for at in engine.sent if at >= minute]
    assert sum(at >= minute for at in engine.refused) < 0.01 * len(late)
    # Half of 120 a minute is free; a raise takes minutes, so that some of it stays unused.
    assert len(late) >= 0.6 * 14 * 60
