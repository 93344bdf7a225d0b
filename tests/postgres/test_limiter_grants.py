"""What a grant is: all or nothing over its scopes, shared, durable, expiring, never given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from partner_sync.database import connect
from partner_sync.errors import ConfigError, DatabaseRefusedError, LimitReachedError
from partner_sync.limiter import LedgerGate, Limit, Limits, PrepaidGate, acquire, finish_grant, pause
from postgres.limiter_clock import START, TestLedger, after
from postgres_server import Database

VENDOR = Limit(scope="vendor", requests=10, per_seconds=60)
ORGANIZATION = Limit(scope="organization", requests=4, per_seconds=60)
BOTH = Limits(limits=(ORGANIZATION, VENDOR), jitter_seconds=0.0, grant_ttl_seconds=0.0)


@pytest.fixture
def ledger(database: Database) -> TestLedger:
    return TestLedger(database)


def test_a_call_that_one_scope_refuses_uses_up_nothing_of_the_other(ledger: TestLedger) -> None:
    assert ledger.ask(BOTH, 6, at=START).count == 4
    assert ledger.ask(BOTH, 6, at=START).count == 0
    used = ledger.admin.execute(
        "select b.scope, sum(l.calls)::int as calls from sync.rate_ledger l"
        " join sync.rate_bucket b on b.id = l.bucket_id group by 1 order by 1"
    ).fetchall()
    assert [(row["scope"], row["calls"]) for row in used] == [("organization", 4), ("vendor", 4)]


def test_organizations_share_the_vendors_limit(ledger: TestLedger) -> None:
    granted = [ledger.ask(BOTH, 4, at=START, organization=name).count for name in ("aoba", "botan", "cosmos")]
    assert granted == [4, 4, 2]


def test_an_endpoints_limit_binds_calls_to_it_only(ledger: TestLedger) -> None:
    limit = Limit(scope="endpoint", endpoint="PUT /v1/visits/{key}", requests=1, per_seconds=60)
    limits = Limits(limits=(limit,), jitter_seconds=0.0)
    assert ledger.ask(limits, 3, at=START, endpoint="PUT /v1/visits/{key}").count == 1
    assert ledger.ask(limits, 3, at=START, endpoint="GET /v1/visits").count == 3


def test_several_clients_together_never_get_more_than_the_limit(database: Database) -> None:
    limits = Limits(
        limits=(
            Limit(scope="vendor", requests=40, per_seconds=0.5),
            Limit(scope="organization", requests=25, per_seconds=0.5),
        ),
        jitter_seconds=0.0,
        grant_ttl_seconds=0.0,
    )
    until = time.monotonic() + 2.0

    def client(number: int) -> list[tuple[str, datetime]]:
        organization, left = f"org{number % 3}", []
        with connect(database.url("push" if number % 2 else "extract")) as conn:
            while time.monotonic() < until:
                grant = acquire(
                    conn, partner="honoka", organization=organization, limits=limits, count=3, call_class="request"
                )
                left += [(organization, grant.granted_at)] * grant.count
        return left

    with ThreadPoolExecutor(6) as pool:
        calls = [call for result in pool.map(client, range(6)) for call in result]
    assert len(calls) >= 40
    assert _most_in_a_window([at for _, at in calls], 0.5) <= 40
    assert all(_most_in_a_window([at for o, at in calls if o == name], 0.5) <= 25 for name in ("org0", "org1", "org2"))


def _most_in_a_window(times: list[datetime], seconds: float) -> int:
    return max(sum(first <= at < first + timedelta(seconds=seconds) for at in times) for first in times)


def test_clients_that_meet_limits_in_another_order_do_not_wait_in_a_circle(database: Database) -> None:
    turned = Limits(limits=(VENDOR, ORGANIZATION), jitter_seconds=0.0)

    def client(limits: Limits) -> int:
        with connect(database.url("push")) as conn:
            return sum(
                acquire(conn, partner="honoka", organization="aoba", limits=limits, count=1, call_class="request").count
                for _ in range(60)
            )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(client, [BOTH, turned, BOTH, turned])) == 4


def test_the_log_survives_an_immediate_stop_because_the_commit_was_synchronous(ledger: TestLedger) -> None:
    ledger.conn.execute("set synchronous_commit = off")
    ledger.admin.execute("create table sync.seen (setting text)")
    ledger.admin.execute(
        "create function sync.see() returns trigger language plpgsql security definer as $$ begin"
        " insert into sync.seen values (current_setting('synchronous_commit')); return null; end $$;"
        " create constraint trigger see after insert on sync.rate_ledger deferrable initially deferred"
        " for each row execute function sync.see()"
    )
    ledger.ask(BOTH, at=START)
    seen = ledger.admin.execute("select distinct setting from sync.seen").fetchall()
    assert [row["setting"] for row in seen] == ["on"]
    persistent = ledger.admin.execute(
        "select relpersistence from pg_class where relname like 'rate_%' and relkind = 'r'"
    )
    assert {row["relpersistence"] for row in persistent} == {"p"}


def test_a_grant_inside_a_transaction_is_refused_because_a_rollback_would_forget_it(ledger: TestLedger) -> None:
    with ledger.conn.transaction(), pytest.raises(ConfigError):
        ledger.ask(BOTH, at=START)


@pytest.mark.parametrize("writer", ["push", "extract", "onboarding", "merge", "run"])
def test_no_login_writes_the_ledger_directly(database: Database, writer: str) -> None:
    with pytest.raises(Exception, match="permission denied"):
        database.connect(writer).execute("delete from sync.rate_ledger")


@pytest.mark.parametrize("writer", ["merge", "validate", "product", "run"])
def test_logins_that_call_no_partner_get_no_grant(database: Database, writer: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="42501"):
        acquire(
            database.connect(writer), partner="honoka", organization="aoba", limits=BOTH, count=1, call_class="tick"
        )


def test_a_window_counts_a_grant_from_when_its_last_call_can_leave(ledger: TestLedger) -> None:
    limits = Limits(limits=(ORGANIZATION,), jitter_seconds=0.0, grant_ttl_seconds=10.0)
    assert ledger.ask(limits, 9, at=START).expires_at == after(10)
    assert ledger.ask(limits, at=after(69)).count == 0
    assert ledger.ask(limits, at=after(70)).count == 1


@pytest.mark.parametrize(("counts", "retry_seconds"), [("sliding_window", 61), ("token_bucket", 16), ("spaced", 15)])
def test_a_time_to_come_back_is_named_as_if_the_calls_under_way_left_at_once(
    ledger: TestLedger, counts: str, retry_seconds: float
) -> None:
    limit = Limit(scope="vendor", requests=4, per_seconds=60, counts=counts)  # type: ignore[arg-type]  # parametrized
    limits = Limits(limits=(limit,), jitter_seconds=0.0, grant_ttl_seconds=10.0)
    ledger.ask(limits, 4, at=START)
    assert ledger.ask(limits, 1, at=after(1)).retry_at == after(retry_seconds)


@pytest.mark.parametrize(
    ("counts", "retry_seconds"), [("sliding_window", 61.5), ("token_bucket", 16.5), ("spaced", 16.35)]
)
def test_a_finished_grant_counts_from_its_end(ledger: TestLedger, counts: str, retry_seconds: float) -> None:
    limit = Limit(scope="vendor", requests=4, per_seconds=60, counts=counts)  # type: ignore[arg-type]  # parametrized
    limits = Limits(limits=(limit,), jitter_seconds=0.0, grant_ttl_seconds=10.0)
    grant = ledger.ask(limits, 4, at=START)
    ledger.at(after(1.5))
    finish_grant(ledger.conn, grant)
    assert ledger.ask(limits, 1, at=after(3)).retry_at == after(retry_seconds)


def test_a_grant_does_not_reach_over_the_edge_of_a_fixed_window(ledger: TestLedger) -> None:
    limits = Limits(
        limits=(Limit(scope="vendor", requests=9, per_seconds=60, counts="fixed_window"),),
        jitter_seconds=0.5,
        grant_ttl_seconds=30.0,
    )
    assert ledger.ask(limits, at=after(50)).expires_at == after(59.5)


def test_the_ledger_is_pruned_in_bulk_and_windows_still_count_right(ledger: TestLedger) -> None:
    limits = Limits(
        limits=(Limit(scope="vendor", requests=50, per_seconds=10), Limit(scope="vendor", requests=90, per_seconds=20)),
        jitter_seconds=0.0,
        grant_ttl_seconds=0.0,
    )
    for second in range(0, 600, 5):
        at = after(second)
        assert ledger.ask(limits, 50, at=at).count == (50 if second % 20 == 0 else 40 if second % 20 == 10 else 0)
    kept = ledger.admin.execute("select count(*) as rows, sum(calls) as calls from sync.rate_ledger").fetchone()
    assert kept is not None
    assert kept["rows"] <= 25
    assert kept["calls"] <= 1_100


# --- pauses (rule 8) ---------------------------------------------------------------------------------------------


def stop(ledger: TestLedger, organization: str, seconds: float, scope: str | None, at: datetime = START) -> datetime:
    ledger.at(at)
    return pause(ledger.conn, partner="honoka", organization=organization, until_at=after(seconds), scope=scope)


def granted(ledger: TestLedger, organization: str, at: datetime) -> int:
    return ledger.ask(BOTH, at=at, organization=organization).count


def test_a_pause_that_names_no_scope_stops_the_organization_only(ledger: TestLedger) -> None:
    stop(ledger, "aoba", 30, None)
    assert [granted(ledger, name, after(29)) for name in ("aoba", "botan")] == [0, 1]
    assert granted(ledger, "aoba", after(30)) == 1


def test_a_second_organizations_pause_stops_the_vendor(ledger: TestLedger) -> None:
    stop(ledger, "aoba", 30, None)
    stop(ledger, "botan", 20, None, at=after(5))
    assert granted(ledger, "cosmos", after(19)) == 0
    assert granted(ledger, "cosmos", after(20)) == 1
    assert granted(ledger, "aoba", after(29)) == 0


def test_an_organizations_second_pause_does_not_stop_the_vendor(ledger: TestLedger) -> None:
    stop(ledger, "aoba", 30, None)
    stop(ledger, "aoba", 40, None, at=after(5))
    assert granted(ledger, "botan", after(10)) == 1


def test_scopes_that_the_partner_named_are_believed(ledger: TestLedger) -> None:
    stop(ledger, "aoba", 30, "organization")
    stop(ledger, "botan", 30, "organization")
    assert granted(ledger, "cosmos", after(1)) == 1
    stop(ledger, "aoba", 30, "vendor")
    assert granted(ledger, "cosmos", after(1)) == 0


def test_a_pause_is_never_shortened_and_never_longer_than_an_hour(ledger: TestLedger) -> None:
    assert stop(ledger, "aoba", 60, None) == after(60)
    assert stop(ledger, "aoba", 10, None) == after(60)
    assert stop(ledger, "aoba", 99_999, None) == after(3600)


def test_a_paused_caller_is_told_when_the_pause_ends(ledger: TestLedger) -> None:
    stop(ledger, "aoba", 30, None)
    assert ledger.ask(BOTH, at=after(1)).retry_at == after(30)


def stop_of(ledger: TestLedger, until: str, reason: str, most_calls: str = "null::integer") -> None:
    ledger.admin.execute(
        "create or replace function sync.stop_of(p_partner text, p_organization text, now_at timestamptz,"
        " out until_at timestamptz, out reason text, out most_calls integer) language sql as"
        f" $$ select {until}, {reason}, {most_calls} $$"
    )


def test_a_caller_is_told_what_stops_it(ledger: TestLedger) -> None:
    assert ledger.ask(BOTH, 4, at=START).reason is None
    assert ledger.ask(BOTH, at=START).reason == "limit"
    stop(ledger, "botan", 30, "organization")
    refused = ledger.ask(BOTH, at=START, organization="botan")
    assert (refused.reason, refused.refusal().reason) == ("paused", "paused")


def test_what_somebody_holds_names_no_time(ledger: TestLedger) -> None:
    stop_of(ledger, "'infinity'::timestamptz", "'held'")
    refused = ledger.ask(BOTH, at=START)
    assert (refused.count, refused.reason, refused.retry_at) == (0, "held", None)


def test_a_probe_grants_no_more_than_its_bound(ledger: TestLedger) -> None:
    stop_of(ledger, "'-infinity'::timestamptz", "'circuit_open'", "1")
    assert ledger.ask(BOTH, 4, at=START).count == 1


# --- gates -------------------------------------------------------------------------------------------------------


LASTING = Limits(limits=BOTH.limits, jitter_seconds=0.0)


def gate_of(database: Database, limits: Limits, patience_seconds: float = 2.0) -> LedgerGate:
    return LedgerGate(
        database.connect("extract"), partner="honoka", organization="aoba", limits=limits, call_class="master",
        patience_seconds=patience_seconds,
    )  # fmt: skip


def test_a_ledger_gate_waits_for_a_grant_that_is_near(database: Database) -> None:
    limits = Limits(limits=(Limit(scope="vendor", requests=2, per_seconds=0.3),), jitter_seconds=0.0)
    gate = gate_of(database, limits)
    started = time.monotonic()
    for _ in range(5):
        gate.take("GET /v1/patients")
    assert 0.6 <= time.monotonic() - started < 2.0


def test_a_ledger_gate_names_the_time_of_a_grant_that_is_far(database: Database) -> None:
    gate = gate_of(database, Limits(limits=(Limit(scope="vendor", requests=1, per_seconds=60),), jitter_seconds=0.0))
    gate.take("GET /v1/patients")
    with pytest.raises(LimitReachedError) as caught:
        gate.take("GET /v1/patients")
    assert timedelta(seconds=55) < caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=60)


def test_what_a_ledger_gate_hears_stops_the_next_call(database: Database) -> None:
    gate = gate_of(database, LASTING)
    gate.take("GET /v1/patients")
    gate.heed(status=429, scope=None, retry_at=datetime.now(UTC) + timedelta(seconds=40))
    with pytest.raises(LimitReachedError):
        gate.take("GET /v1/patients")


def test_a_ledger_gate_serves_several_threads(database: Database) -> None:
    gate = gate_of(database, LASTING, patience_seconds=0.0)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: _taken(gate.take), range(30))) == 4


def _taken(take: Callable[[str], None]) -> bool:
    try:
        take("GET /v1/patients")
    except LimitReachedError:
        return False
    return True


def test_a_prepaid_gate_hands_out_each_call_once_to_many_threads(ledger: TestLedger) -> None:
    limits = Limits(limits=(VENDOR,), grant_ttl_seconds=30.0)
    gate = PrepaidGate(ledger.ask(limits, 7, at=START))
    barrier = threading.Barrier(5)

    def worker(_: int) -> int:
        barrier.wait()
        return sum(_taken(gate.take) for _ in range(4))

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(worker, range(5))) == 7


def test_a_prepaid_gate_refuses_calls_after_the_grant_has_expired(ledger: TestLedger) -> None:
    grant = ledger.ask(Limits(limits=(VENDOR,), grant_ttl_seconds=10.0), 7, at=START)
    now = [time.monotonic()]
    gate = PrepaidGate(grant, clock=lambda: now[0])
    gate.take("PUT /v1/visits/{key}")
    now[0] += 10.0
    with pytest.raises(LimitReachedError):
        gate.take("PUT /v1/visits/{key}")


def test_a_prepaid_gate_stops_when_the_partner_says_so_and_keeps_what_it_heard(ledger: TestLedger) -> None:
    gate = PrepaidGate(ledger.ask(Limits(limits=(VENDOR,)), 7, at=START))
    until_at = datetime.now(UTC) + timedelta(seconds=20)
    gate.heed(status=429, scope="vendor", retry_at=until_at)
    with pytest.raises(LimitReachedError) as caught:
        gate.take("PUT /v1/visits/{key}")
    assert caught.value.retry_at == until_at
    assert [(heard.scope, heard.until_at) for heard in gate.heard] == [("vendor", until_at)]
