"""Each way of counting, asked at random times: never too many, and the time to ask again is exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.limiter import Limit, Limits, seconds_for
from partner_sync.limits import fixed_window
from postgres.limiter_clock import START, TestLedger, after

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
gaps = st.lists(st.tuples(st.floats(0, 4), st.integers(1, 6)), min_size=1, max_size=14)
per_seconds = st.sampled_from([1.0, 2.5, 7.0])
requests = st.integers(1, 6)
jitters = st.sampled_from([0.0, 0.2])
MICROSECOND = timedelta(microseconds=1)


def one(limit: Limit, jitter: float = 0.0) -> Limits:
    """One limit; grants leave at once, so that the times of the grants are the times of the calls."""
    return Limits(limits=(limit,), jitter_seconds=jitter, grant_ttl_seconds=0.0)


def calls_of(ledger: TestLedger, limits: Limits, asks: list[tuple[float, int]]) -> list[datetime]:
    ledger.empty()
    at, left = START, []
    for gap, count in asks:
        at += timedelta(seconds=gap)
        grant = ledger.ask(limits, count, at=at)
        left += [grant.granted_at] * grant.count
    return left


@quick
@given(asks=gaps, requests=requests, per=per_seconds, jitter=jitters)
def test_a_sliding_window_never_holds_too_many_calls(
    ledger: TestLedger, asks: list[tuple[float, int]], requests: int, per: float, jitter: float
) -> None:
    left = calls_of(ledger, one(Limit(scope="vendor", requests=requests, per_seconds=per), jitter), asks)
    for first in left:
        until = first + timedelta(seconds=per + jitter)
        assert sum(first <= at < until for at in left) <= requests


@quick
@given(asks=gaps, requests=requests, per=per_seconds, jitter=jitters)
def test_a_fixed_window_is_kept_and_nothing_leaves_near_its_edges(
    ledger: TestLedger, asks: list[tuple[float, int]], requests: int, per: float, jitter: float
) -> None:
    limit = Limit(
        scope="vendor", requests=requests, per_seconds=per, counts="fixed_window", zone="Asia/Tokyo", anchor="09:30"
    )
    left = calls_of(ledger, one(limit, jitter), asks)
    windows = [fixed_window(limit, at) for at in left]
    margin = timedelta(seconds=jitter)
    assert all(start + margin <= at < end - margin for at, (start, end) in zip(left, windows, strict=True))
    assert all(windows.count(window) <= requests for window in windows)


@quick
@given(asks=gaps, requests=requests, per=per_seconds, burst=st.integers(1, 8), jitter=jitters)
def test_a_token_bucket_is_never_overdrawn(
    ledger: TestLedger, asks: list[tuple[float, int]], requests: int, per: float, burst: int, jitter: float
) -> None:
    limit = Limit(scope="vendor", requests=requests, per_seconds=per, counts="token_bucket", burst=burst)
    left = calls_of(ledger, one(limit, jitter), asks)
    for index, first in enumerate(left):
        for later, at in enumerate(left[index:], start=1):
            # The calls can arrive jitter closer together than they left.
            seconds = max(0.0, (at - first).total_seconds() - jitter)
            assert later <= burst + seconds * requests / per + 1e-6


@quick
@given(asks=gaps, requests=requests, per=per_seconds, jitter=jitters)
def test_spaced_calls_keep_their_distance(
    ledger: TestLedger, asks: list[tuple[float, int]], requests: int, per: float, jitter: float
) -> None:
    limit = Limit(scope="vendor", requests=requests, per_seconds=per, counts="spaced")
    left = calls_of(ledger, one(limit, jitter), asks)
    distance = timedelta(seconds=per / requests + jitter)
    assert all(later - at >= distance - MICROSECOND for at, later in pairwise(left))


limit_values = st.builds(
    Limit,
    scope=st.sampled_from(["vendor", "organization"]),
    requests=requests,
    per_seconds=per_seconds,
    counts=st.sampled_from(["sliding_window", "fixed_window", "token_bucket", "spaced"]),
)


@quick
@given(asks=gaps, limits=st.lists(limit_values, min_size=1, max_size=3), jitter=jitters)
def test_the_time_to_ask_again_is_exact(
    ledger: TestLedger, asks: list[tuple[float, int]], limits: list[Limit], jitter: float
) -> None:
    policy = Limits(limits=tuple(limits), jitter_seconds=jitter, grant_ttl_seconds=0.0)
    calls_of(ledger, policy, asks)
    at = START + timedelta(seconds=sum(gap for gap, _ in asks))
    refused = ledger.ask(policy, 50, at=at)
    assert refused.retry_at is not None
    if refused.retry_at - MICROSECOND > at:
        assert ledger.ask(policy, at=refused.retry_at - MICROSECOND).count == 0
    assert ledger.ask(policy, at=refused.retry_at).count == 1


@quick
@given(calls=st.integers(1, 40), limits=st.lists(limit_values, min_size=1, max_size=3), jitter=jitters)
def test_the_plan_says_when_the_last_call_leaves(
    ledger: TestLedger, calls: int, limits: list[Limit], jitter: float
) -> None:
    policy = Limits(limits=tuple(limits), jitter_seconds=jitter, grant_ttl_seconds=0.0)
    ledger.empty()
    at, left = START, calls
    while left:
        grant = ledger.ask(policy, left, at=at)
        left -= grant.count
        at = grant.retry_at or at
    assert after(seconds_for(policy, calls, start_at=START)) == at


def test_a_daily_window_turns_at_its_anchor_in_its_zone(ledger: TestLedger) -> None:
    limits = one(
        Limit(scope="vendor", requests=3, per_seconds=86_400, counts="fixed_window", zone="Asia/Tokyo", anchor="04:00"),
        jitter=1.0,
    )
    first = ledger.ask(limits, 5, at=START)
    assert first.count == 3
    assert first.retry_at == datetime.fromisoformat("2026-11-24T04:00:01+09:00")


def test_a_daily_window_has_one_quota_also_on_the_day_of_25_hours(ledger: TestLedger) -> None:
    limit = Limit(scope="vendor", requests=3, per_seconds=86_400, counts="fixed_window", zone="Europe/Berlin")
    limits = Limits(limits=(limit,), jitter_seconds=0.2)
    morning, night = (
        datetime.fromisoformat("2026-10-25T01:00:00+02:00"),
        datetime.fromisoformat("2026-10-25T23:30:00+01:00"),
    )
    assert (
        fixed_window(limit, morning)[0] != fixed_window(limit, datetime.fromisoformat("2026-10-26T00:30:00+01:00"))[0]
    )
    assert ledger.ask(limits, 3, at=morning).count == 3
    assert ledger.ask(limits, 3, at=night).count == 0, "it is still the 25th there"


def test_database_and_plan_agree_on_the_windows_of_long_and_short_days(ledger: TestLedger) -> None:
    for per_seconds in (3_600, 6 * 3_600, 7 * 3_600, 86_400, 7 * 86_400, 36 * 3_600):
        limit = Limit(
            scope="vendor", requests=3, per_seconds=per_seconds, counts="fixed_window", zone="Europe/Berlin",
            anchor="04:30",
        )  # fmt: skip
        for start in (datetime(2026, 3, 28, 20, 0, tzinfo=UTC), datetime(2026, 10, 24, 20, 0, tzinfo=UTC)):
            for half_hours in range(80):
                at = start + timedelta(minutes=30 * half_hours)
                assert window_there(ledger, limit, at) == fixed_window(limit, at), (per_seconds, at)


def window_there(ledger: TestLedger, limit: Limit, at: datetime) -> tuple[datetime, datetime]:
    query = (
        "select w.starts_at, w.ends_at from sync.fixed_window(row(null, null, 'vendor', 'fixed_window', %s,"
        " make_interval(secs => %s), null, %s, %s::time, null, null, null, null)::sync.limit_spec, %s) w"
    )
    row = ledger.admin.execute(query, (limit.requests, limit.per_seconds, limit.zone, limit.anchor, at)).fetchone()
    assert row
    return row["starts_at"], row["ends_at"]


def test_a_clock_that_is_set_back_opens_no_window_twice(ledger: TestLedger) -> None:
    limits = one(Limit(scope="vendor", requests=2, per_seconds=10, counts="token_bucket"))
    assert ledger.ask(limits, 2, at=after(30)).count == 2
    assert ledger.ask(limits, 2, at=after(0)).count == 0
