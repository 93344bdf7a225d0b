"""What stops one organization or one visit stops nothing else, and no success is said of what was not done (rule 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from partner_sync.circuit import set_hold
from partner_sync.delivery.failures import failed_lines
from partner_sync.kinds.interface import Access
from partner_sync.links import Link
from partner_sync.partners.model import Partner
from partner_sync.runs import Conclusion, Outcome, conclude, record_outcome
from partner_sync.steps.organizations import Doors, Patience
from partner_sync.steps.outcomes import RunName
from partner_sync.steps.push import WeekWork, push_due, push_organizations
from postgres.hand_pusher import release
from postgres.keeping_partner import BY_KEY, Fault, KeepingPartner, partner_of
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database
from scripted_server import Reply

#: A visit of another week of the organization waits for a person's word.
AN_OLD_VISIT_WAITS = """
insert into sync.push_attempt (partner, organization, office_id, visit_id, version, week, action, generation,
    idempotency_key, state, owner, sent_at, settle_at)
values ('honoka', 'aoba', 1, 'old', 1, '2026-01-05', 'put', 1, gen_random_uuid(), 'unknown', 999, now(), 'infinity')
"""
PATIENCE = Patience(until_at=datetime.now(UTC) + timedelta(hours=1), last_try=True)


@dataclass
class World:
    """Two organizations with a released visit each; where each of them finds the partner can be changed."""

    database: Database
    partner: Partner
    keeping: KeepingPartner
    products: dict[str, Product]
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def doors(self) -> Doors:
        def access(link: Link) -> Access:
            address = self.addresses.get(link.organization, self.keeping.server.base_url)
            return Access(base_url=address, secret=link.organization)

        return Doors(connect=self.database.connect, access=access)

    def tick(self, key: str) -> Conclusion:
        push_due(
            self.doors, self.partner, run=RunName(partner=PARTNER, run_key=key, dag="live_push"), patience=PATIENCE
        )
        return self.conclude(key)

    def push(self, key: str) -> Conclusion:
        """A planner's push of all."""
        run = RunName(partner=PARTNER, run_key=key, dag="schedule_push")
        work = WeekWork(partner=self.partner, run=run, week=WEEK)
        push_organizations(self.doors, work, organizations=list(self.products), patience=PATIENCE)
        return self.conclude(key)

    def conclude(self, key: str) -> Conclusion:
        return conclude(self.database.connect("run"), partner=PARTNER, run_key=key)

    def all_due(self) -> None:
        self.database.admin().execute("update sync.todo set due_at = clock_timestamp()")

    def lines(self, key: str) -> list[str]:
        conn = self.database.connect("run")
        return list(failed_lines(conn, partner=PARTNER, run_key=key, organizations=list(self.products)))

    def calls(self, organization: str) -> int:
        return sum(came.headers["authorization"] == f"Bearer {organization}" for came in self.keeping.server.came)


@pytest.fixture
def world(database: Database, keeping: KeepingPartner) -> World:
    products = {
        name: make_product(database, organization=name, base=base) for name, base in (("aoba", 0), ("sakura", 100))
    }
    for name, made in products.items():
        made.visit(f"{name}-0")
        made.week("finalized")
        release(made)
    return World(database, partner_of(BY_KEY, settle=0.05, concurrency=1), keeping, products)


def test_setup_both_organizations_are_served(world: World) -> None:
    world.tick("t0")
    assert sorted(world.keeping.visits) == ["aoba-0", "sakura-0"]


def test_a_mistyped_address_of_one_organization_stops_no_other(world: World) -> None:
    world.addresses["aoba"] = "http://api..example.jp"
    try:
        world.tick("t1")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other organization must have been served
        print(type(error))
    assert "sakura-0" in world.keeping.visits


def test_a_mended_key_lets_ticks_go_on_although_an_old_visit_waits_for_a_person(world: World) -> None:
    world.tick("t0")
    made = world.products["aoba"]
    admin = world.database.admin()
    admin.execute(AN_OLD_VISIT_WAITS)
    made.visit("aoba-0", revision=2, note="a")
    world.keeping.faults.append(Fault(Reply(401)))
    world.tick("t1")
    admin.execute("update sync.todo set due_at = clock_timestamp()")
    # The key is mended, and a planner's push of this week gets everything through.
    world.push("p1")
    assert world.keeping.visits["aoba-0"]["note"] == "a"
    made.visit("aoba-0", revision=3, note="b")
    world.tick("t2")
    assert world.keeping.visits["aoba-0"]["note"] == "b"


def test_a_push_of_one_week_is_no_failure_for_a_visit_of_another_that_waits_for_a_person(world: World) -> None:
    world.database.admin().execute(AN_OLD_VISIT_WAITS)
    assert not world.push("p1").failed


def test_a_tick_makes_no_call_again_for_an_address_that_is_known_to_be_wrong(world: World) -> None:
    world.keeping.faults.extend([Fault(Reply(405))] * 8)
    world.tick("t1")
    before = world.calls("aoba")
    world.database.admin().execute("update sync.todo set due_at = clock_timestamp()")
    world.tick("t2")
    assert world.calls("aoba") == before


def test_one_visit_that_the_partner_forbids_does_not_hold_up_the_others_of_its_organization(world: World) -> None:
    world.tick("t0")
    made = world.products["aoba"]
    made.visit("aoba-1", note="locked there")
    world.keeping.faults.append(Fault(Reply(403)))
    world.tick("t1")
    made.visit("aoba-2")
    world.tick("t2")
    assert "aoba-2" in world.keeping.visits


def test_a_push_of_which_every_visit_is_refused_is_no_success(world: World) -> None:
    world.keeping.faults.extend([Fault(Reply(422))] * 2)
    assert world.push("p1").failed


# --- a cause that cannot mend itself


def stop_aoba(world: World) -> int:
    """Its address is known to be wrong; how many calls it has made."""
    world.keeping.faults.extend([Fault(Reply(405))] * 2)
    world.tick("t1")
    world.keeping.faults.clear()
    world.all_due()
    world.tick("t2")
    return world.calls("aoba")


def test_a_check_that_went_well_lets_ticks_try_again(world: World) -> None:
    before = stop_aoba(world)
    facts = {"partner": PARTNER, "organization": "aoba", "run_key": "c1", "dag": "check_partner", "step": "check"}
    record_outcome(world.database.connect("run"), Outcome(**facts, outcome="ok", code="checked"))  # type: ignore[arg-type]
    assert [cause.code for cause in world.tick("t3").closed_causes] == ["partner_bad_answer"]
    assert world.calls("aoba") == before + 1


def test_a_changed_link_lets_ticks_try_again(world: World) -> None:
    before = stop_aoba(world)
    world.database.admin().execute("update sync.link set updated_at = clock_timestamp() where organization = 'aoba'")
    world.tick("t3")
    assert world.calls("aoba") == before + 1


def test_a_persons_push_that_goes_through_ends_the_cause(world: World) -> None:
    stop_aoba(world)
    assert [cause.code for cause in world.push("p1").closed_causes] == ["partner_bad_answer"]


# --- 403


def test_a_visit_that_is_forbidden_while_others_go_through_is_rejected(world: World) -> None:
    world.tick("t0")
    made = world.products["aoba"]
    for number in (1, 2):
        made.visit(f"aoba-{number}")
    world.keeping.faults.extend([Fault(Reply(200, {"data": {"no": "aoba-1"}}), done=True), Fault(Reply(403))])
    told = world.tick("t1")
    assert [cause.code for cause in told.new_causes] == ["rejected"]
    assert world.lines("t1")[0] == "aoba: 拒否 / rejected: partner_forbids (403) 1"


def test_a_key_that_is_forbidden_everything_stops_its_organization(world: World) -> None:
    made = world.products["aoba"]
    for number in (1, 2, 3, 4):
        made.visit(f"aoba-{number}")
    world.keeping.faults.extend([Fault(Reply(403))] * 3)
    assert [cause.code for cause in world.tick("t1").new_causes] == ["partner_auth"]
    before = world.calls("aoba")
    world.all_due()
    world.tick("t2")
    assert world.calls("aoba") == before


# --- what was not done is said


def test_a_push_says_what_its_visits_were_refused_for_and_whose_turn_it_is(world: World) -> None:
    world.keeping.faults.extend([Fault(Reply(422))] * 2)
    told = world.push("p1")
    assert [cause.code for cause in told.new_causes] == ["rejected"]
    lines = world.lines("p1")
    assert lines[:2] == [f"{code}: 拒否 / rejected: partner_rejected (422) 1" for code in ("aoba", "sakura")]
    assert lines[-1].startswith("Whose turn: the customer's planner")
    assert "`resend failed`" in lines[-1]


def test_a_later_push_still_says_what_stands_rejected_and_is_no_failure_for_it(world: World) -> None:
    world.keeping.faults.extend([Fault(Reply(422))] * 2)
    world.push("p1")
    told = world.push("p2")
    assert (told.failed, told.closed_causes) == (False, ())
    assert told.organizations == {"aoba": "waiting", "sakura": "waiting"}
    assert "visits still rejected or given up 2" in told.note_en
    assert "`resend failed`" in told.note_en


def test_a_rejection_is_over_when_a_tick_has_sent_the_corrected_visit(world: World) -> None:
    world.keeping.faults.append(Fault(Reply(422)))
    assert [cause.code for cause in world.tick("t1").new_causes] == ["rejected"]
    world.products["aoba"].visit("aoba-0", revision=2, note="corrected")
    world.products["sakura"].visit("sakura-0", revision=2, note="corrected")
    assert [cause.code for cause in world.tick("t2").closed_causes] == ["rejected"]


def test_a_push_of_what_a_person_holds_is_not_done(world: World) -> None:
    run = world.database.connect("run")
    set_hold(run, partner=PARTNER, organization="aoba", held=True, reason="maintenance", by="op")
    told = world.push("p1")
    assert (told.failed, told.organizations) == (True, {"aoba": "held", "sakura": "ok"})
    set_hold(run, partner=PARTNER, organization="aoba", held=False, reason="maintenance", by="op")
    assert [cause.code for cause in world.push("p2").closed_causes] == ["organization_held"]
