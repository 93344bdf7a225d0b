"""Circuits open after repeated failure, let one call try, and close again; a hold is a person's (by a set clock)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.circuit import Calls, CircuitRule, Stop, report_calls, set_hold, stops
from partner_sync.database import Connection, connect
from partner_sync.errors import CircuitOpenError, DatabaseRefusedError, HeldError
from partner_sync.limiter import Grant, Limit, Limits, acquire, pause
from postgres.limiter_clock import START, TestLedger, after
from postgres_server import Database

RULE = CircuitRule(failures=10, open_seconds=30, longest_open_seconds=200, organizations=3, probe_seconds=60)
WIDE = Limits(limits=(Limit(scope="organization", requests=10_000, per_seconds=1),), jitter_seconds=0.0)


class Circuits(TestLedger):
    """The circuits of honoka, told and asked at times that the test names."""

    __test__ = False

    def empty(self) -> None:
        super().empty()
        self.admin.execute("truncate sync.circuit")

    def tell(
        self, failed: int = 0, *, reached: int = 0, at: float, organization: str = "aoba", rule: CircuitRule = RULE
    ) -> None:
        self.at(after(at))
        calls = Calls(reached=reached, failed=failed)
        report_calls(self.conn, calls, partner="honoka", organization=organization, rule=rule)

    def grant(self, count: int = 5, *, at: float, organization: str = "aoba") -> Grant:
        return self.ask(WIDE, count, at=after(at), organization=organization)

    def fail_probe(self, *, at: float, organization: str = "aoba") -> None:
        assert self.grant(at=at, organization=organization).count == 1
        self.tell(1, at=at, organization=organization)

    def states(self, *, at: float, conn: Connection | None = None) -> dict[str, str]:
        self.at(after(at), conn)
        return {stop.organization: stop.state for stop in stops(conn or self.conn, partner="honoka").found}

    def stop(self, organization: str, *, at: float) -> Stop | None:
        self.at(after(at))
        return stops(self.conn, partner="honoka").of(organization)


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


# --- holds ------------------------------------------------------------------------------------------------------------


def hold(database: Database, organization: str = "", *, held: bool = True) -> bool:
    conn = database.connect("run")
    return set_hold(conn, partner="honoka", organization=organization, held=held, reason="maintenance", by="op")


def test_a_hold_lets_no_call_leave_until_a_person_resumes_it(circuits: Circuits, database: Database) -> None:
    hold(database, "aoba")
    refused = circuits.grant(at=0)
    assert (refused.count, refused.reason, refused.retry_at) == (0, "held", None)
    assert isinstance(refused.refusal(), HeldError)
    assert circuits.grant(at=0, organization="botan").count == 5
    hold(database, "aoba", held=False)
    assert circuits.grant(at=0).count == 5


def test_a_hold_of_the_partner_holds_all_and_does_not_end_with_an_organizations_resume(
    circuits: Circuits, database: Database
) -> None:
    hold(database)
    hold(database, "aoba")
    hold(database, "aoba", held=False)
    assert [circuits.grant(at=0, organization=o).reason for o in ("aoba", "botan")] == ["held", "held"]
    hold(database, held=False)
    assert circuits.grant(at=0).count == 5


def test_a_hold_goes_before_a_circuit_and_outlasts_calls_that_get_through(
    circuits: Circuits, database: Database
) -> None:
    hold(database, "aoba")
    circuits.tell(10, at=0)
    circuits.tell(reached=1, at=1)
    assert circuits.grant(at=2).reason == "held"


def test_who_held_what_and_why_stays_on_record_and_is_written_once(database: Database) -> None:
    assert hold(database, "aoba")
    assert not hold(database, "aoba"), "it is held already"
    assert hold(database, "aoba", held=False)
    assert not hold(database, "aoba", held=False)
    rows = database.admin().execute("select held, reason, by from sync.hold order by id").fetchall()
    assert [row["held"] for row in rows] == [True, False]
    assert {(row["reason"], row["by"]) for row in rows} == {("maintenance", "op")}
    for change in ("update sync.hold set held = true", "delete from sync.hold"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            database.admin().execute(change)


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_what_is_stopped_can_be_seen_with_since_and_until_when(circuits: Circuits, database: Database) -> None:
    circuits.tell(12, at=0)
    hold(database, "botan")
    seen = circuits.stop("aoba", at=1)
    assert seen == Stop(
        partner="honoka", organization="aoba", state="open", since_at=START, until_at=after(30), reason=None, by=None,
        failures=12,
    )  # fmt: skip
    held = circuits.stop("botan", at=1)
    assert held is not None
    assert (held.state, held.until_at, held.reason, held.by) == ("held", None, "maintenance", "op")
    assert circuits.stop("chigaya", at=1) is None
    assert circuits.states(at=30) == {"aoba": "half_open", "botan": "held"}


def test_an_organization_is_stopped_by_its_partner_before_itself_and_by_a_hold_before_a_circuit() -> None:
    def stop(organization: str, state: str) -> Stop:
        made = Stop(
            partner="honoka", organization="", state="open", since_at=START, until_at=None, reason=None, by=None,
            failures=0,
        )  # fmt: skip
        return replace(made, organization=organization, state=state)

    from partner_sync.circuit import Stops

    order: list[tuple[str, str]] = [("", "held"), ("aoba", "held"), ("", "open"), ("aoba", "open")]
    for left in range(len(order)):
        found = Stops(tuple(stop(*each) for each in reversed(order[left:]))).of("aoba")
        assert found is not None
        assert (found.organization, found.state) == order[left]
    assert Stops((stop("aoba", "half_open"), stop("botan", "held"))).of("aoba") is None


# --- who may what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "may"),
    [
        ("select sync.set_hold('honoka', '', true, 'x', 'x')", {"run"}),
        ("select sync.report_calls('honoka', 'aoba', 1, 0, '{}')", {"extract", "push", "onboarding"}),
        ("select from sync.circuit_state", {"extract", "push", "onboarding", "release", "run", "reader"}),
        ("delete from sync.circuit", set()),
        ("insert into sync.hold (partner, organization, held, reason, by) values ('a', '', true, 'x', 'x')", set()),
        ("select sync.open_circuit('honoka', '', '{}', now())", set()),
        ("select sync.take_probe('honoka', '', now())", set()),
    ],
)
def test_only_those_may_who_have_to(database: Database, call: str, may: set[str]) -> None:
    allowed = set()
    for login in ("extract", "validate", "merge", "onboarding", "product", "release", "push", "run", "reader"):
        try:
            database.connect(login).execute(call)
            allowed.add(login)
        except psycopg.errors.InsufficientPrivilege:
            continue
    assert allowed == may
