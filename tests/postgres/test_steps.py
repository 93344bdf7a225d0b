"""The steps of a run on a real database and a real practice partner, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from airflow_for_tests import ROOT
from partner_sync.database import Connection
from partner_sync.errors import NothingFinalizedError, PartnerUnavailableError
from partner_sync.kinds.interface import Access
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.partners.loader import load_partner
from partner_sync.partners.model import Limit, Partner
from partner_sync.runs import conclude
from partner_sync.steps.extract import ExtractWork, extract_organizations
from partner_sync.steps.merge import MergeWork, merge_organizations
from partner_sync.steps.organizations import Doors, Patience
from partner_sync.steps.outcomes import RunName
from partner_sync.steps.push import WeekWork, push_due, push_organizations
from partner_sync.steps.release import ReleaseWork, dry_run, links_to_release, plan_release, release_organizations
from partner_sync.steps.validate import validate_organizations
from partner_sync.weeks import Week
from postgres_server import Database
from sandbox.running import RunningPartner

WEEK = Week(date(2026, 11, 23))
ENTITIES = ("office", "practitioner", "patient")
PATIENCE = Patience(until_at=datetime.now(UTC) + timedelta(hours=1))
ORGANIZATIONS = ("sakura-care", "momiji-care", "kaede-care")


@dataclass
class World:
    """A partner with some linked organizations; ``keys`` can be changed, and ``asked`` tells whose were read."""

    database: Database
    partner: Partner
    practice: RunningPartner
    keys: dict[str, str]
    asked: list[str] = field(default_factory=list)

    @property
    def doors(self) -> Doors:
        return Doors(connect=self.database.connect, access=self._access)

    def _access(self, link: Link) -> Access:
        self.asked.append(link.organization)
        return Access(base_url=self.practice.base_url, login=link.organization, secret=self.keys[link.organization])

    def extract(self, run: RunName, organizations: Any = ORGANIZATIONS, **changes: Any) -> Any:
        work = ExtractWork(partner=self.partner, run=run, entities=ENTITIES, mode="full")
        return extract_organizations(
            self.doors, work, organizations=organizations, patience=changes.get("patience", PATIENCE)
        )

    def sync(self, run: RunName) -> None:
        self.extract(run)
        validate_organizations(self.doors, run, organizations=ORGANIZATIONS, entities=ENTITIES)
        merge_organizations(
            self.doors,
            MergeWork(partner=self.partner, run=run, entities=ENTITIES),
            organizations=ORGANIZATIONS,
            patience=PATIENCE,
        )

    def conclude(self, run: RunName) -> Any:
        return conclude(self.database.connect("run"), partner="honoka", run_key=run.run_key)

    def rows(self, query: str) -> list[dict[str, Any]]:
        conn: Connection = self.database.admin()
        return conn.execute(query).fetchall()


@pytest.fixture(scope="module")
def running():
    with RunningPartner("honoka", offices=2, practitioners=3, patients=12, dirty_share=0) as partner:
        yield partner


@pytest.fixture
def world(database, running):
    running.reset()
    running.limit(1000, per_seconds=10)
    found = load_partner(ROOT / "include" / "partners" / "honoka.yaml")
    assert isinstance(found, Partner)
    generous = found.model_copy(update={"limits": (Limit(scope="organization", requests=1000, per_seconds=10),)})
    onboarding = database.connect("onboarding")
    for code in ORGANIZATIONS:
        add_organization(onboarding, code=code, name=code)
        link = Link(
            partner="honoka", organization=code, connection_id=f"honoka_{code}", directions=("master", "schedule"),
            master_of=ENTITIES, release_mode="weekly" if code == "sakura-care" else "manual",
        )  # fmt: skip
        add_link(onboarding, link)
    keys = {code: key.secret for code, key in running.keys().items()}
    return World(database, generous, running, keys)


def name(key, dag="master_sync"):
    return RunName(partner="honoka", run_key=key, dag=dag)


def limited(world, requests, per_seconds=600):
    limit = Limit(scope="organization", requests=requests, per_seconds=per_seconds)
    return World(world.database, world.partner.model_copy(update={"limits": (limit,)}), world.practice, world.keys)


# --- master data in


def test_a_wrong_key_stops_its_organization_and_no_other(world):
    world.keys["momiji-care"] = "wrong"
    world.sync(name("r1"))
    found = world.conclude(name("r1"))
    assert dict(found.organizations) == {"sakura-care": "ok", "momiji-care": "failed", "kaede-care": "ok"}
    assert [cause.code for cause in found.new_causes] == ["partner_auth"]
    counts = world.rows("select organization, count(*) from canonical.patient group by 1 order by 1")
    assert counts == [{"organization": "kaede-care", "count": 12}, {"organization": "sakura-care", "count": 12}]


def test_a_second_sync_changes_nothing_and_closes_the_cause_of_the_first(world):
    right, world.keys["momiji-care"] = world.keys["momiji-care"], "wrong"
    world.sync(name("r1"))
    world.conclude(name("r1"))
    before = world.rows("select id, updated_at from canonical.patient where organization = 'sakura-care' order by id")
    world.keys["momiji-care"] = right
    world.sync(name("r2"))
    assert [cause.code for cause in world.conclude(name("r2")).closed_causes] == ["partner_auth"]
    assert (
        world.rows("select id, updated_at from canonical.patient where organization = 'sakura-care' order by id")
        == before
    )


def test_an_extract_that_meets_a_limit_says_who_waits_and_goes_on_where_it_was(world):
    waiting = limited(world, 2).extract(name("r1"))
    assert waiting.organizations == ORGANIZATIONS
    assert waiting.retry_at > datetime.now(UTC)
    before = len(world.practice.received())
    assert world.extract(name("r1"), waiting.organizations) is None
    assert len(world.practice.received()) - before == 3, "the offices and practitioners were read already"


def test_an_extract_that_is_tried_again_reads_nothing_twice(world):
    world.extract(name("r1"))
    before = len(world.practice.received())
    world.extract(name("r1"))
    assert len(world.practice.received()) == before


def test_a_partner_that_is_away_is_a_matter_of_the_whole_step(world):
    world.practice.fault("status", status=503)
    with pytest.raises(PartnerUnavailableError):
        world.extract(name("r1"))


# --- schedules out


@pytest.fixture
def planned(world):
    """Two visits of each organization in the week; kaede-care has not finalized it."""
    world.sync(name("before"))
    product = world.database.connect("product")
    for number, code in enumerate(ORGANIZATIONS):
        product.execute(
            "insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, start_at, end_at)"
            " select format('v%%s-%%s', %(n)s::int, row_number() over ()), 1, p.organization, p.office_id, p.id,"
            " timestamptz '2026-11-24 01:00Z', timestamptz '2026-11-24 02:00Z'"
            " from (select * from canonical.patient where organization = %(code)s and office_id is not null"
            " order by id limit 2) p",
            {"n": number, "code": code},
        )
        if code != "kaede-care":
            product.execute(
                "insert into schedule.week_state (office_id, week, organization, state, changed_by)"
                " select distinct office_id, date '2026-11-23', organization, 'finalized', 'planner'"
                " from schedule.visit where organization = %s",
                (code,),
            )
    return world


def order(world, key="p1", codes=(), **changes):
    links = links_to_release(world.doors, partner="honoka", codes=codes, weekly_only=changes.pop("weekly_only", False))
    return ReleaseWork(
        partner=world.partner, links=links, week=WEEK, mode=changes.get("mode", "changes"), requested_by="planner",
        run=name(key, "schedule_push"),
    )  # fmt: skip


def push(world, organizations, key="p1"):
    work = WeekWork(partner=world.partner, run=name(key, "schedule_push"), week=WEEK)
    return push_organizations(world.doors, work, organizations=organizations, patience=PATIENCE)


def test_a_push_sends_the_finalized_offices_and_lists_the_others(planned):
    told = plan_release(planned.doors, order(planned)).lines()
    assert any("kaede-care" in line for line in told if "not finalized" in line)
    released = release_organizations(planned.doors, order(planned))
    assert set(released) == {"sakura-care", "momiji-care"}
    assert push(planned, released) is None
    assert len(planned.practice.visits()) == 4
    assert planned.conclude(name("p1")).counts["push"]["visit.accepted"] == 4


def test_a_release_of_nothing_finalized_is_refused_and_writes_nothing(planned):
    with pytest.raises(NothingFinalizedError):
        release_organizations(planned.doors, order(planned, codes=["kaede-care"]))
    assert planned.rows("select from sync.push_request") == []


def test_a_scheduled_push_is_for_weekly_links_only(planned):
    assert order(planned, weekly_only=True).organizations == ("sakura-care",)


def test_a_dry_run_shows_shapes_and_no_value_and_neither_writes_nor_calls(planned):
    before = len(planned.practice.received())
    told = "\n".join(dry_run(planned.doors, order(planned)))
    patients = planned.rows("select source_key from canonical.crosswalk where entity = 'patient'")
    assert "patient_id" in told
    assert not [row for row in patients if row["source_key"] in told]
    assert planned.rows("select from sync.push_request") == []
    assert len(planned.practice.received()) == before


def test_a_push_that_meets_the_limit_says_who_waits_and_ends_it_later(planned):
    released = release_organizations(planned.doors, order(planned))
    waiting = push(limited(planned, 1), released)
    assert waiting is not None
    assert push(planned, waiting.organizations) is None
    assert len(planned.practice.visits()) == 4


def test_a_tick_sends_a_later_change_of_a_released_week_and_nothing_else(planned):
    push(planned, release_organizations(planned.doors, order(planned)))
    planned.database.connect("product").execute(
        "update schedule.visit set note = 'x', revision = 2 where visit_id = 'v0-1'"
    )
    planned.asked.clear()
    assert push_due(planned.doors, planned.partner, run=name("t1", "live_push"), patience=PATIENCE) == ("sakura-care",)
    assert planned.asked == ["sakura-care"], "connections are read only for organizations with work"


def test_a_tick_leaves_an_organization_alone_whose_key_is_known_to_be_wrong(planned):
    release_organizations(planned.doors, order(planned))
    planned.keys["sakura-care"] = "wrong"
    for key in ("t1", "t2"):
        worked = push_due(planned.doors, planned.partner, run=name(key, "live_push"), patience=PATIENCE)
        found = planned.conclude(name(key))
        calls = len(planned.practice.received("sakura-care", method="PUT"))
        assert [cause.code for cause in found.new_causes] == (["partner_auth"] if key == "t1" else [])
        assert ("sakura-care" in worked) == (key == "t1")
    assert calls == len(planned.practice.received("sakura-care", method="PUT"))


def test_a_tick_goes_on_when_the_limit_opens_in_a_moment(planned):
    release_organizations(planned.doors, order(planned))
    narrow = limited(planned, 2, per_seconds=1)
    push_due(narrow.doors, narrow.partner, run=name("t1", "live_push"), patience=PATIENCE)
    assert len(planned.practice.visits()) == 4


def test_a_tick_leaves_to_the_next_one_what_the_limit_does_not_allow_soon(planned):
    release_organizations(planned.doors, order(planned))
    narrow = limited(planned, 1)
    started = datetime.now(UTC)
    push_due(narrow.doors, narrow.partner, run=name("t1", "live_push"), patience=PATIENCE)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
    assert not planned.conclude(name("t1")).failed


@pytest.mark.parametrize("direction", ["extract", "push"])
def test_what_the_partner_says_of_its_limits_is_noted_by_the_run_that_hears_it(planned, direction):
    planned.practice.limit(500, per_seconds=10, fields=True)
    if direction == "extract":
        planned.extract(name("s9"), ["sakura-care"])
    else:
        push(planned, release_organizations(planned.doors, order(planned)))
    [policy] = planned.rows("select distinct requests, differs, file_requests from sync.rate_policy")
    assert policy == {"requests": 500, "differs": "smaller", "file_requests": 1000}
    found = planned.conclude(name("s9" if direction == "extract" else "p1"))
    assert (found.failed, [cause.code for cause in found.notices]) == (False, ["policy_differs"])
