"""What a person holds, what is seen of it and of the circuits, and who may do what."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from partner_sync.circuit import Stop, Stops
from partner_sync.errors import HeldError
from postgres.circuits import Circuits, hold
from postgres.limiter_clock import START, after
from postgres_server import Database


@pytest.fixture
def circuits(database: Database) -> Circuits:
    return Circuits(database)


# --- holds ------------------------------------------------------------------------------------------------------------


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
