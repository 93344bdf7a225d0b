"""Circuits open after repeated failure, let one call try, and close again; by a clock that is set."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.database import connect
from partner_sync.errors import CircuitOpenError, DatabaseRefusedError
from partner_sync.limiter import Limit, Limits, acquire, pause
from postgres.circuits import RULE, WIDE, Circuits, hold
from postgres.limiter_clock import after
from postgres_server import Database


@pytest.fixture
def circuits(database: Database) -> Circuits:
    return Circuits(database)


# --- an organization's circuit ----------------------------------------------------------------------------------------


def test_failures_in_a_row_open_the_circuit_and_name_the_moment_to_come_back(circuits: Circuits) -> None:
    circuits.tell(9, at=0)
    assert circuits.grant(at=1).count == 5
    circuits.tell(1, at=2)
    refused = circuits.grant(at=3)
    assert (refused.count, refused.reason, refused.retry_at) == (0, "circuit_open", after(32))
    error = refused.refusal()
    assert isinstance(error, CircuitOpenError)
    assert (error.code, error.retry_at) == ("circuit_open", after(32))


def test_a_call_that_gets_through_between_starts_the_count_anew(circuits: Circuits) -> None:
    circuits.tell(9, at=0)
    circuits.tell(reached=1, at=1)
    circuits.tell(9, at=2)
    assert circuits.grant(at=3).count == 5


def test_of_calls_told_together_those_count_that_failed_after_the_last_that_got_through(circuits: Circuits) -> None:
    circuits.tell(9, at=0)
    circuits.tell(9, reached=1, at=1)
    assert circuits.grant(at=2).count == 5
    circuits.tell(1, at=3)
    assert circuits.grant(at=4).count == 0


def test_a_circuit_whose_time_has_come_lets_one_call_try_and_the_next_asks_again_soon(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    assert circuits.grant(at=30).count == 1
    waiting = circuits.grant(at=31)
    assert (waiting.count, waiting.reason, waiting.retry_at) == (0, "circuit_open", after(36))


def test_a_probe_that_gets_through_closes_the_circuit_and_leaves_nothing_behind(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    circuits.grant(at=30)
    circuits.tell(reached=1, at=31)
    assert circuits.grant(at=31).count == 5
    assert circuits.admin.execute("select from sync.circuit").fetchall() == []


def test_each_probe_that_fails_opens_the_circuit_for_twice_as_long_up_to_the_longest(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    at, waits = 30.0, []
    for _ in range(4):
        circuits.fail_probe(at=at)
        retry_at = circuits.grant(at=at).retry_at
        assert retry_at is not None
        waits.append((retry_at - after(at)).total_seconds())
        at += waits[-1]
    assert waits == [60, 120, 200, 200]


def test_a_circuit_that_was_closed_opens_for_the_first_length_again(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    circuits.fail_probe(at=30)
    circuits.grant(at=90)
    circuits.tell(reached=1, at=91)
    circuits.tell(10, at=100)
    assert circuits.grant(at=101).retry_at == after(130)


def test_a_probe_of_which_nothing_is_heard_counts_as_lost_after_a_while(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    assert circuits.grant(at=30).count == 1
    assert circuits.grant(at=89).count == 0
    assert circuits.grant(at=90).count == 1


def test_calls_that_left_before_the_circuit_opened_do_not_keep_it_open_longer(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    circuits.tell(10, at=5)
    circuits.tell(10, at=31)
    assert circuits.grant(at=32).count == 1


def test_a_probe_is_taken_only_with_a_grant(circuits: Circuits) -> None:
    narrow = Limits(limits=(Limit(scope="organization", requests=1, per_seconds=300),), jitter_seconds=0.0)
    assert circuits.ask(narrow, at=after(-10)).count == 1
    circuits.tell(10, at=0)
    assert circuits.ask(narrow, at=after(30)).count == 0, "the limit leaves no room"
    assert circuits.states(at=31) == {"aoba": "half_open"}
    assert circuits.grant(at=31).count == 1


def test_a_grant_waits_for_whoever_is_changing_the_circuit(circuits: Circuits, database: Database) -> None:
    circuits.tell(10, at=0)
    circuits.conn.execute("set lock_timeout = '100ms'")
    with (other := database.admin()).transaction():
        other.execute("select from sync.circuit for update")
        with pytest.raises(DatabaseRefusedError) as refused:
            circuits.grant(at=30)
    assert refused.value.facts["sqlstate"] == psycopg.errors.LockNotAvailable.sqlstate
    assert circuits.grant(at=30).count == 1


def test_the_longer_of_a_pause_and_a_circuit_is_what_is_told(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    pause(circuits.conn, partner="honoka", organization="aoba", until_at=after(100), scope="organization")
    refused = circuits.grant(at=1)
    assert (refused.reason, refused.retry_at) == ("paused", after(100))


@given(told=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_circuit_is_open_exactly_when_the_last_ten_calls_have_failed(
    circuits: Circuits, told: list[tuple[int, int]]
) -> None:
    circuits.empty()
    in_a_row, opened = 0, False
    for reached, failed in told:
        circuits.tell(failed, reached=reached, at=0)
        in_a_row = failed if reached else in_a_row + failed
        opened = in_a_row >= 10 or (opened and not reached)
        assert (circuits.states(at=0) == {"aoba": "open"}) == opened


# --- the partner's circuit --------------------------------------------------------------------------------------------


def test_one_organizations_failure_does_not_stop_the_others(circuits: Circuits) -> None:
    circuits.tell(50, at=0)
    assert circuits.grant(at=1, organization="botan").count == 5
    assert circuits.states(at=1) == {"aoba": "open"}


def test_calls_of_three_organizations_that_fail_within_a_minute_open_the_partners_circuit(circuits: Circuits) -> None:
    circuits.tell(1, at=0)
    circuits.tell(1, at=20, organization="botan")
    assert circuits.grant(at=21, organization="daria").count == 5
    circuits.tell(1, at=40, organization="chigaya")
    refused = circuits.grant(at=41, organization="daria")
    assert (refused.count, refused.reason, refused.retry_at) == (0, "circuit_open", after(70))


def test_failures_that_lie_further_apart_do_not(circuits: Circuits) -> None:
    for number, organization in enumerate(["aoba", "botan", "chigaya"]):
        circuits.tell(1, at=number * 31, organization=organization)
    assert circuits.grant(at=70, organization="daria").count == 5


def test_nor_do_they_when_anybodys_call_got_through_between(circuits: Circuits) -> None:
    circuits.tell(1, at=0)
    circuits.tell(1, at=1, organization="botan")
    circuits.tell(reached=1, at=2, organization="daria")
    circuits.tell(1, at=3, organization="chigaya")
    assert circuits.grant(at=4, organization="daria").count == 5


def test_organizations_whose_circuits_opened_one_by_one_speak_against_the_partner(circuits: Circuits) -> None:
    circuits.tell(10, at=0)
    circuits.tell(10, at=100, organization="botan")
    circuits.tell(1, at=200, organization="chigaya")
    assert circuits.grant(at=201, organization="daria").count == 0


def test_another_partner_is_not_touched(circuits: Circuits) -> None:
    open_partner(circuits)
    circuits.at(after(1))
    asked = acquire(circuits.conn, partner="tsubaki", organization="aoba", limits=WIDE, count=5, call_class="request")
    assert asked.count == 5


def open_partner(circuits: Circuits) -> None:
    for organization in ("aoba", "botan", "chigaya"):
        circuits.tell(1, at=0, organization=organization)


def test_a_probe_that_gets_through_brings_back_the_partner_and_all_its_organizations(circuits: Circuits) -> None:
    open_partner(circuits)
    assert circuits.grant(at=30, organization="daria").count == 1
    assert circuits.grant(at=30, organization="erika").count == 0, "one call at a time"
    circuits.tell(reached=1, at=31, organization="daria")
    assert [circuits.grant(at=31, organization=o).count for o in ("aoba", "botan", "erika")] == [5, 5, 5]


def test_only_one_process_gets_the_partners_probe(circuits: Circuits, database: Database) -> None:
    """Limits of their own are all that they share: no bucket puts them in order."""
    open_partner(circuits)
    gate = threading.Barrier(6)

    def client(number: int) -> int:
        with connect(database.url("push" if number % 2 else "extract")) as conn:
            circuits.at(after(30), conn)
            gate.wait(20)
            names = {"partner": "honoka", "organization": f"org{number}"}
            return acquire(conn, **names, limits=WIDE, count=5, call_class="request").count

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(client, range(6))) == [0, 0, 0, 0, 0, 1]


def test_an_organization_that_is_stopped_keeps_no_room_from_the_others(circuits: Circuits, database: Database) -> None:
    shared = Limits(limits=(Limit(scope="vendor", requests=10, per_seconds=60),), jitter_seconds=0.0)
    hold(database, "aoba")
    circuits.tell(10, at=0, organization="botan")
    for organization in ("aoba", "botan"):
        assert circuits.ask(shared, 10, at=after(1), organization=organization).count == 0
    assert circuits.ask(shared, 10, at=after(2), organization="chigaya").count == 10


def test_who_fails_as_the_partners_probe_steps_back_and_lets_another_try_at_once(circuits: Circuits) -> None:
    open_partner(circuits)
    circuits.fail_probe(at=30, organization="daria")
    assert circuits.grant(at=31, organization="daria").retry_at == after(60)
    assert circuits.grant(at=31, organization="erika").count == 1


def test_the_partners_circuit_opens_for_longer_when_calls_of_three_more_organizations_fail(circuits: Circuits) -> None:
    open_partner(circuits)
    for organization in ("daria", "erika", "fuji"):
        circuits.fail_probe(at=30, organization=organization)
    assert circuits.grant(at=31, organization="ginkgo").retry_at == after(90)


def test_organizations_that_are_broken_by_themselves_do_not_keep_the_partner_from_the_others(
    circuits: Circuits,
) -> None:
    open_partner(circuits)
    for at in (30, 90, 210):
        for organization in ("aoba", "botan", "chigaya"):
            circuits.fail_probe(at=at, organization=organization)
    assert circuits.grant(at=211, organization="daria").count == 1


OTHERS = ("aoba", "botan", "chigaya", "daria")
STORY = st.lists(
    st.tuples(st.sampled_from(OTHERS), st.sampled_from(["ask", "fail", "get through"]), st.integers(0, 90)), max_size=40
)


@given(story=STORY)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_has_failed_everybody_is_served_again_once_the_partner_is_back(
    circuits: Circuits, story: list[tuple[str, str, int]]
) -> None:
    circuits.empty()
    at = 0
    for organization, what, passed in story:
        at += passed
        if what == "ask":
            assert circuits.grant(at=at, organization=organization).count in (0, 1, 5)
        else:
            told = {"failed": 4} if what == "fail" else {"reached": 1}
            circuits.tell(at=at, organization=organization, **told)
    at += int(RULE.longest_open_seconds + RULE.probe_seconds)
    for organization in OTHERS:
        assert circuits.grant(at=at, organization=organization).count > 0
        circuits.tell(reached=1, at=at, organization=organization)
        assert circuits.grant(at=at, organization=organization).count == 5
