"""Pushes while a partner is down, for all or for one organization, and while a person holds them; by real calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from partner_sync.circuit import heeding_stops, set_hold, stops
from partner_sync.delivery.push import PushCounts, PushWork, push_organization
from partner_sync.delivery.release import release_week
from partner_sync.errors import CircuitOpenError, HeldError, LimitReachedError, SettlingError
from partner_sync.incidents import open_incidents
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.limiter import LedgerGate
from partner_sync.limits import limits_of
from partner_sync.partners.loader import load_partners
from partner_sync.partners.model import Circuit, Partner
from partner_sync.runs import Conclusion, conclude
from partner_sync.steps.extract import ExtractWork, extract_organizations
from partner_sync.steps.organizations import Doors, Patience
from partner_sync.steps.outcomes import RunName
from partner_sync.steps.push import WeekWork, push_due, push_organizations
from postgres.product import WEEK, Product, make_product
from postgres_server import Database
from scripted_server import Came, Reply, ScriptedServer

FILES = Path(__file__).resolve().parents[2] / "include" / "partners"
ORGANIZATIONS = ("aoba", "botan")
VISITS = 5
OPEN_SECONDS = 1.0
QUICK = {"connect_seconds": 0.2, "read_seconds": 0.3, "settle_after_seconds": 0.5}
PATIENCE = Patience(until_at=datetime.now(UTC) + timedelta(hours=1), last_try=True, naps_seconds=0)


@dataclass
class Visits:
    """A partner's server that keeps visits. It answers 500 to the organizations in ``down`` (by their key)."""

    down: set[str] = field(default_factory=set)
    kept: dict[tuple[str, str], object] = field(default_factory=dict)

    def __call__(self, came: Came) -> Reply:
        who = came.headers["authorization"].removeprefix("Bearer ")
        if who in self.down:
            return Reply(500)
        key = came.path.rpartition("/")[2]
        if came.method == "PUT":
            self.kept[who, key] = came.json
            return Reply(200, {"data": {"key": key}})
        found = self.kept.get((who, key))
        return Reply(404) if found is None else Reply(200, {"data": found})


@dataclass
class World:
    """Two organizations with a released week of visits each, at a partner whose circuit opens after 3 failed calls."""

    database: Database
    partner: Partner
    server: ScriptedServer
    visits: Visits

    @property
    def doors(self) -> Doors:
        return Doors(
            connect=self.database.connect,
            access=lambda link: Access(base_url=self.server.base_url, secret=link.organization),
        )

    def push(self, organization: str = "aoba") -> PushCounts:
        """A planner's push of one organization, as its task does it, once."""
        work = PushWork(partner=self.partner, organization=organization, run_key="run", call_class="request")

        def opened(gate: Gate) -> PartnerKind:
            return open_kind(self.partner, Access(base_url=self.server.base_url, secret=organization), gate)

        with (
            self.database.connect("push") as conn,
            self.database.connect("run") as run,
            heeding_stops(run, partner="honoka", organization=organization),
        ):
            return push_organization(conn, work, open_kind=opened)

    def push_until_settled(self, seconds: float = 20) -> PushCounts:
        ends_at = time.monotonic() + seconds
        while True:
            try:
                return self.push()
            except (SettlingError, LimitReachedError) as waiting:
                assert time.monotonic() < ends_at, "never settled"
                sleep_until(waiting.retry_at)

    def tick(self, key: str) -> Conclusion:
        run = RunName(partner="honoka", run_key=key, dag="live_push")
        self.worked = push_due(self.doors, self.partner, run=run, patience=PATIENCE)
        return conclude(self.database.connect("run"), partner="honoka", run_key=key)

    def calls(self, organization: str) -> int:
        return sum(came.headers["authorization"] == f"Bearer {organization}" for came in self.server.came)

    def hold(self, organization: str, *, held: bool = True) -> None:
        conn = self.database.connect("run")
        set_hold(conn, partner="honoka", organization=organization, held=held, reason="maintenance", by="op")

    def states(self) -> dict[str, str]:
        found = stops(self.database.connect("run"), partner="honoka").found
        return {stop.organization: stop.state for stop in found}


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    found = load_partners(FILES).partners["honoka"]
    circuit = Circuit(failures=3).model_copy(
        update={"open_seconds": OPEN_SECONDS, "longest_open_seconds": 3 * OPEN_SECONDS}
    )
    changes = {"circuit": circuit, "concurrency": 1, "timeouts": found.timeouts.model_copy(update=QUICK)}
    for number, organization in enumerate(ORGANIZATIONS):
        release(make_product(database, organization=organization, base=100 * number))
    visits = Visits()
    with ScriptedServer(visits) as server:
        yield World(database, found.model_copy(update=changes), server, visits)


def release(product: Product) -> None:
    for number in range(VISITS):
        product.visit(f"{product.organization}-{number}")
    product.week("finalized")
    release_week(
        product.database.connect("release"), partner="honoka", organizations=[product.organization], week=WEEK,
        mode="changes", requested_by="planner", run_key="release",
    )  # fmt: skip


def sleep_until(moment: datetime) -> None:
    time.sleep(max(0.05, (moment - datetime.now(UTC)).total_seconds()))


def test_a_push_stops_calling_a_server_that_is_down_probes_it_and_delivers_all_when_it_is_back(world: World) -> None:
    world.visits.down = {"aoba"}
    with pytest.raises(CircuitOpenError) as stopped:
        world.push()
    assert world.calls("aoba") == 3
    with pytest.raises(CircuitOpenError):
        world.push()
    assert world.calls("aoba") == 3, "an open circuit lets nothing leave"

    sleep_until(stopped.value.retry_at)
    with pytest.raises(CircuitOpenError) as longer:
        world.push()
    assert world.calls("aoba") == 4, "one call tries"
    assert longer.value.retry_at - stopped.value.retry_at >= timedelta(seconds=2 * OPEN_SECONDS), "and for longer"

    world.visits.down.clear()
    assert world.push_until_settled().outcomes["accepted"] == VISITS
    assert len(world.visits.kept) == VISITS
    assert world.states() == {}


def test_one_organization_that_fails_does_not_stop_another(world: World) -> None:
    world.visits.down = {"aoba"}
    world.tick("t1")
    assert set(world.states()) == {"aoba"}
    assert {who for who, _ in world.visits.kept} == {"botan"}
    assert len(world.visits.kept) == VISITS


def test_a_tick_tells_of_an_open_circuit_once_and_leaves_it_alone_until_it_may_probe(world: World) -> None:
    world.visits.down = {"aoba"}
    slow = Circuit(failures=3).model_copy(update={"open_seconds": 60.0})
    world.partner = world.partner.model_copy(update={"circuit": slow})
    first = world.tick("t1")
    assert [(cause.code, cause.organizations) for cause in first.new_causes] == [("circuit_open", ("aoba",))]
    before = world.calls("aoba")
    for key in ("t2", "t3"):
        assert not world.tick(key).failed
        assert "aoba" not in world.worked
    assert world.calls("aoba") == before


def test_the_cause_is_closed_by_the_tick_whose_call_gets_through(world: World) -> None:
    world.visits.down = {"aoba"}
    world.tick("t1")
    assert [each.code for each in open_incidents(world.database.connect("run"), partner="honoka")] == ["circuit_open"]
    world.visits.down.clear()
    [stop] = stops(world.database.connect("run"), partner="honoka").found
    sleep_until(stop.until_at or stop.since_at)
    closed = world.tick("t2").closed_causes
    assert [(cause.code, cause.organizations) for cause in closed] == [("circuit_open", ("aoba",))]
    assert world.states() == {}


def planner(world: World, key: str = "p1") -> tuple[object, Conclusion]:
    work = WeekWork(partner=world.partner, run=RunName(partner="honoka", run_key=key, dag="schedule_push"), week=WEEK)
    waiting = push_organizations(world.doors, work, organizations=ORGANIZATIONS, patience=PATIENCE)
    return waiting, conclude(world.database.connect("run"), partner="honoka", run_key=key)


def test_a_planners_push_waits_for_the_next_probe_and_the_others_are_sent(world: World) -> None:
    world.visits.down = {"aoba"}
    waiting, _ = planner(world)
    assert waiting is not None
    assert (waiting.organizations, waiting.code) == (("aoba",), "circuit_open")
    assert len(world.visits.kept) == VISITS


def test_a_batch_that_does_not_connect_and_opens_the_circuit_makes_the_run_wait_and_costs_it_no_try(
    world: World,
) -> None:
    with ScriptedServer() as gone:
        pass
    world.server.base_url = gone.base_url
    world.partner = world.partner.model_copy(update={"concurrency": 3})
    waiting, told = planner(world)
    assert waiting is not None
    assert (waiting.organizations, waiting.code) == (ORGANIZATIONS, "circuit_open")
    assert not told.failed


def test_what_is_held_is_passed_over_by_ticks_without_a_word_and_goes_out_after_the_resume(world: World) -> None:
    world.hold("aoba")
    told = world.tick("t1")
    assert (world.worked, told.organizations) == (("botan",), {"botan": "ok"})
    assert world.calls("aoba") == 0
    world.hold("aoba", held=False)
    world.tick("t2")
    assert {who for who, _ in world.visits.kept} == {"aoba", "botan"}


def test_a_planners_push_of_what_is_held_is_not_done_says_so_and_ends_without_waiting(world: World) -> None:
    world.hold("aoba")
    waiting, told = planner(world)
    assert waiting is None
    assert (told.failed, told.organizations) == (True, {"aoba": "held", "botan": "ok"})
    assert "aoba / push: The integration team holds the calls for aoba to honoka." in told.note_en
    assert "一時停止" in told.note_ja


def test_a_held_partner_is_held_for_all_its_organizations(world: World) -> None:
    world.hold("")
    _, told = planner(world)
    assert told.organizations == {"aoba": "held", "botan": "held"}
    assert "holds all calls to honoka" in told.note_en
    assert world.server.came == []


def test_a_master_sync_passes_over_what_is_held(world: World) -> None:
    world.hold("aoba")
    run = RunName(partner="honoka", run_key="m1", dag="master_sync")
    work = ExtractWork(partner=world.partner, run=run, entities=("office",), mode="full")
    assert extract_organizations(world.doors, work, organizations=["aoba"], patience=PATIENCE) is None
    told = conclude(world.database.connect("run"), partner="honoka", run_key="m1")
    assert (told.failed, told.organizations) == (False, {"aoba": "skipped"})
    assert world.server.came == []


def test_a_hold_in_the_middle_of_a_run_ends_its_calls_too(world: World) -> None:
    def held_by_now(came: Came) -> Reply:
        world.hold("")
        return world.visits(came)

    world.server.answer = held_by_now
    with pytest.raises(HeldError):
        world.push()
    assert world.calls("aoba") <= 2, "what was granted before still leaves"
    _, told = planner(world, "p2")
    assert told.organizations == {"aoba": "held", "botan": "held"}


def test_a_gate_that_asks_for_each_call_tells_its_failures_at_once(world: World) -> None:
    gate = LedgerGate(
        world.database.connect("extract"), partner="honoka", organization="aoba", limits=limits_of(world.partner),
        call_class="master", patience_seconds=0.0,
    )  # fmt: skip
    for _ in range(3):
        gate.take("GET /v1/offices")
        gate.answered(reached=False)
    with pytest.raises(CircuitOpenError) as stopped:
        gate.take("GET /v1/offices")
    sleep_until(stopped.value.retry_at)
    gate.take("GET /v1/offices")
    gate.answered(reached=True)
    assert world.states() == {}
