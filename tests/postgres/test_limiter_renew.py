"""A grant that takes the place of another in one step counts exactly as one that is asked for after the other's end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, LiteralString

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.grants import Asked, ask
from partner_sync.limiter import Grant, Limit, Limits, acquire, finish_grant
from postgres.limiter_clock import START, TestLedger, after
from postgres_server import Database

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
windows = st.builds(
    Limit,
    scope=st.sampled_from(["vendor", "organization"]),
    requests=st.integers(5, 40),
    per_seconds=st.sampled_from([0.5, 2.0, 10.0]),
    counts=st.sampled_from(["sliding_window", "sliding_window", "fixed_window", "token_bucket", "spaced"]),
)
#: Seconds until the next grant, the part of them after which the last call has left, and calls.
steps = st.lists(st.tuples(st.floats(0.01, 3.0), st.floats(0, 1), st.integers(1, 12)), min_size=2, max_size=20)


WRITTEN: tuple[LiteralString, ...] = (
    "select b.scope, l.left_at, l.total, l.calls from sync.rate_ledger l join sync.rate_bucket b on b.id = l.bucket_id",
    "select b.scope, o.calls, o.leaves_by_at from sync.rate_open o join sync.rate_bucket b on b.id = o.bucket_id",
    "select scope, granted, logged, logged_at::text from sync.rate_bucket",
)


def asked(count: int, limits: Limits, finished: Grant, left_at: Any) -> Asked:
    return Asked(count=count, endpoint=None, hold_seconds=limits.grant_ttl_seconds, finished=finished, left_at=left_at)


def played(ledger: TestLedger, limits: Limits, moments: list[tuple[float, float, int]], *, renews: bool) -> list[Any]:
    """What is granted, and what stands in the ledger at the end."""
    ledger.empty()
    grant, at, seen = ledger.ask(limits, 5, at=START), START, []
    for gap, part, count in moments:
        left_at, at = at + timedelta(seconds=gap * part), at + timedelta(seconds=gap)
        ledger.at(at)
        if renews:
            grant = ask(ledger.conn, grant.caller, asked(count, limits, grant, left_at))
        else:
            finish_grant(ledger.conn, grant, left_at=left_at)
            grant = ledger.ask(limits, count, at=at)
        seen.append((grant.count, grant.granted_at, grant.expires_at, grant.retry_at, grant.left))
    return [seen, *(sorted(tuple(row.values()) for row in ledger.admin.execute(query)) for query in WRITTEN)]


@quick
@given(limits=st.lists(windows, min_size=1, max_size=3), moments=steps)
def test_a_renewal_is_an_end_and_a_new_grant(
    ledger: TestLedger, limits: list[Limit], moments: list[tuple[float, float, int]]
) -> None:
    policy = Limits(limits=tuple(limits), jitter_seconds=0.1, grant_ttl_seconds=5.0)
    assert played(ledger, policy, moments, renews=True) == played(ledger, policy, moments, renews=False)


def test_the_short_way_is_taken_where_windows_have_room(ledger: TestLedger) -> None:
    ledger.empty()
    limits = Limits(limits=(Limit(scope="vendor", requests=12, per_seconds=60),), grant_ttl_seconds=5.0)
    grant = ledger.ask(limits, 5, at=START)
    short = "select (sync.renewed(b, %s, interval '5 seconds', %s, null)).grant_id as got from sync.rate_binding b"
    ledger.admin.execute("select set_config('test.now', %s, false)", [after(1).isoformat()])
    rows = [ledger.admin.execute(short, [count, grant.grant_id]).fetchone() for count in (8, 7)]
    assert [row is not None and row["got"] is not None for row in rows] == [False, True]


STOPS: dict[str, LiteralString] = {
    "paused": "insert into sync.rate_pause values ('honoka', 'vendor', '', %(until)s, %(at)s, false)",
    "held": "insert into sync.hold (partner, organization, held, reason, by) values ('honoka', '', true, 'r', 'p')",
    "circuit_open": "insert into sync.circuit (partner, organization, opened_at, probe_at, changed_at)"
    " values ('honoka', 'aoba', %(at)s, %(until)s, %(at)s)",
}


@pytest.mark.parametrize("stopped", ["paused", "held", "circuit_open"])
def test_a_renewal_stops_where_a_grant_does(database: Database, stopped: str) -> None:
    ledger = TestLedger(database)
    limits = Limits(limits=(Limit(scope="vendor", requests=100, per_seconds=60),), grant_ttl_seconds=5.0)
    grant = ledger.ask(limits, 5, at=START)
    ledger.admin.execute(STOPS[stopped], {"at": after(0.5), "until": after(60)})
    ledger.at(after(1))
    refused = ask(ledger.conn, grant.caller, asked(5, limits, grant, after(0.5)))
    assert (refused.count, refused.reason) == (0, stopped)


def test_limits_of_a_partner_file_that_has_changed_are_forgotten_after_a_month(ledger: TestLedger) -> None:
    def taken(requests: int, day: int, count: int = 1) -> None:
        limits = Limits(limits=(Limit(scope="vendor", requests=requests, per_seconds=60),), grant_ttl_seconds=0.0)
        ledger.at(after(86_400 * day))
        facts = {"partner": "honoka", "organization": "aoba", "limits": limits, "call_class": "tick"}
        acquire(ledger.conn, **facts, count=count)  # type: ignore[arg-type]  # a dict of any facts

    taken(1_500, 0)
    taken(2_000, 0)
    taken(2_000, 25, 1_200)
    taken(3_000, 31)
    rows = ledger.admin.execute("select (limits[1]).requests from sync.rate_binding order by 1").fetchall()
    assert [row["requests"] for row in rows] == [2_000, 3_000]
