"""Calls in flight: so many at once, freed when they are back, or by themselves when nobody says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from partner_sync.errors import LimitReachedError
from partner_sync.limiter import LedgerGate, Limit, Limits, acquire, finish_grant, free_places
from postgres.limiter_clock import START, TestLedger, after
from postgres_server import Database

THREE = Limit(scope="vendor", requests=3, counts="in_flight")
LIMITS = Limits(limits=(THREE,), jitter_seconds=0.0, grant_ttl_seconds=10.0, call_seconds=40.0)


def test_no_more_calls_than_places_are_in_flight_at_once(ledger: TestLedger) -> None:
    assert ledger.ask(LIMITS, 2, at=START).count == 2
    assert ledger.ask(LIMITS, 2, at=START, organization="botan").count == 1
    assert ledger.ask(LIMITS, 2, at=after(5), organization="botan").count == 0


def test_a_finished_grant_frees_its_places_at_once(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 3, at=START)
    ledger.at(after(1))
    finish_grant(ledger.conn, grant)
    assert ledger.ask(LIMITS, 3, at=after(1)).count == 3


def test_a_call_that_is_back_frees_its_place_while_others_of_its_grant_are_in_flight(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 3, at=START)
    free_places(ledger.conn, grant, 2)
    assert ledger.ask(LIMITS, 3, at=after(1), organization="botan").count == 2
    ledger.at(after(2))
    finish_grant(ledger.conn, grant)
    assert ledger.ask(LIMITS, 3, at=after(2), organization="botan").count == 1


def test_who_finds_no_place_looks_again_soon(ledger: TestLedger) -> None:
    ledger.ask(LIMITS, 3, at=START)
    assert ledger.ask(LIMITS, at=after(1)).retry_at == after(1.1)
    assert ledger.ask(LIMITS, at=after(49.95)).retry_at == after(50)


def test_a_dead_process_holds_its_places_no_longer_than_its_calls_can_take(ledger: TestLedger) -> None:
    ledger.ask(LIMITS, 3, at=START)
    assert ledger.ask(LIMITS, at=after(49)).count == 0
    assert ledger.ask(LIMITS, 3, at=after(50)).count == 3


def test_a_window_beside_it_is_not_refunded(ledger: TestLedger) -> None:
    window = Limit(scope="vendor", requests=4, per_seconds=60)
    limits = Limits(limits=(THREE, window), jitter_seconds=0.0, grant_ttl_seconds=10.0)
    grant = ledger.ask(limits, 3, at=START)
    ledger.at(after(1))
    finish_grant(ledger.conn, grant)
    assert ledger.ask(limits, 3, at=after(1)).count == 1


def test_a_ledger_gate_frees_the_place_of_a_call_that_is_answered(database: Database) -> None:
    limits = Limits(limits=(Limit(scope="organization", requests=1, counts="in_flight"),))
    gate = LedgerGate(
        database.connect("extract"), partner="honoka", organization="aoba", limits=limits, call_class="master",
        patience_seconds=0.0,
    )  # fmt: skip
    gate.take("GET /v1/patients")
    with pytest.raises(LimitReachedError):
        gate.take("GET /v1/patients")
    gate.answered(reached=True)
    gate.take("GET /v1/patients")


def test_a_lease_lasts_for_the_grant_and_the_call_on_the_databases_clock(database: Database) -> None:
    conn = database.connect("push")
    grant = acquire(conn, partner="honoka", organization="aoba", limits=LIMITS, count=1, call_class="tick")
    row = database.admin().execute("select expires_at from sync.rate_lease").fetchone()
    assert row is not None
    assert row["expires_at"] - grant.granted_at == timedelta(seconds=50)
