"""The plan says before anything is asked for what a push of a week comes to: visits, calls, and what is blocked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.circuit import Calls, CircuitRule, report_calls
from partner_sync.delivery.plan import OrganizationPlan, Plan, clock_time, plan_push
from partner_sync.kinds.interface import Quota
from partner_sync.limiter import Grant, acquire, apply_told, finish_grant, pause
from partner_sync.limits import limits_of
from partner_sync.partners.loader import load_partners
from partner_sync.partners.model import Limit, Partner
from partner_sync.partners.push import Batch, BatchCall
from postgres.circuits import hold
from postgres.hand_pusher import HandPusher, release
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres.test_requeue import requeue
from postgres.test_todo_property import STEPS, Step, World, played
from postgres_server import Database

NEXT = WEEK.next()
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
FILES = Path(__file__).resolve().parents[2] / "include" / "partners"


@pytest.fixture
def product(database: Database) -> Product:
    """Three visits in a finalized week that nobody has released."""
    made = make_product(database)
    made.closed_week("v1", "v2", "v3")
    return made


@pytest.fixture(scope="module")
def partner() -> Partner:
    return load_partners(FILES).partners[PARTNER]


def plan(product: Product, partner: Partner, *, resend: bool = False) -> OrganizationPlan:
    conn = product.database.connect("release")
    return plan_push(conn, partner=partner, organizations=["sakura"], week=WEEK, resend=resend).organizations[0]


def test_a_week_that_was_never_released_is_planned_whole_and_nothing_is_written(
    product: Product, partner: Partner
) -> None:
    product.visit("v4", office_id=2)
    assert (plan(product, partner).visits, plan(product, partner).calls) == (3, 3)
    admin = product.database.admin()
    assert admin.execute("select from sync.push_request union all select from sync.release").fetchall() == []


def test_what_the_partner_holds_in_this_version_is_planned_in_a_resend_only(product: Product, partner: Partner) -> None:
    release(product)
    HandPusher(product).push("v1", "v2", "v3")
    product.visit("v2", revision=2, note="edited")
    assert plan(product, partner).sample_visit_ids == ("v2",)
    assert plan(product, partner, resend=True).calls == 3


def test_a_rejected_visit_is_planned_again_when_it_was_requeued(product: Product, partner: Partner) -> None:
    release(product)
    HandPusher(product).push("v1", "v2", "v3", outcome="rejected")
    assert plan(product, partner).calls == 0
    requeue(product, "v1")
    assert plan(product, partner).sample_visit_ids == ("v1",)


def test_a_visit_that_moved_in_from_a_released_week_is_two_calls(product: Product, partner: Partner) -> None:
    product.week("finalized", week=NEXT)
    product.visit("v4", day=NEXT.monday)
    release(product, NEXT)
    HandPusher(product).push("v4")
    product.visit("v4", revision=2)
    found = plan(product, partner)
    assert (found.visits, found.calls) == (4, 5)


def test_a_cancel_is_a_call_only_where_the_partner_holds_the_visit(product: Product, partner: Partner) -> None:
    release(product)
    HandPusher(product).push("v1", "v2")
    for visit_id in ("v1", "v3"):
        product.visit(visit_id, revision=2, status="cancelled")
    found = plan(product, partner)
    assert (found.visits, found.calls, found.sample_visit_ids) == (1, 1, ())


def test_blocked_visits_are_counted_by_their_reason_and_make_no_call(product: Product, partner: Partner) -> None:
    admin = product.database.admin()
    admin.execute("delete from canonical.crosswalk where entity = 'patient' and canonical_id in (12, 13)")
    for number, patient in ((2, 12), (3, 13)):
        product.visit(f"v{number}", revision=2, patient_id=patient)
    admin.execute("update canonical.patient set insurer_number = '1', insured_number = '2' where id = 13")
    admin.execute(
        "insert into quarantine.row (partner, organization, entity, source_key, reasons, staged, raw, first_run_key,"
        " last_run_key) values ('honoka', 'sakura', 'patient', 'P-13', '[]',"
        """ '[{"insurer_number": "1", "insured_number": "2"}]', '[{}]', 'run', 'run')"""
    )
    found = plan(product, partner)
    assert (found.calls, found.blocked) == (1, {"no_key_patient": 1, "patient_in_quarantine": 1})
    assert found.blocked_visit_ids == ("v2", "v3")


def test_a_batch_is_one_call(product: Product, partner: Partner) -> None:
    assert partner.push is not None
    batch = Batch(
        put=BatchCall(
            method="PUT", path="/v1/batch", size=2, key_in="id", key_at="id", ok_when={"from": "ok", "is_set": True}
        )
    )
    batched = partner.model_copy(update={"push": partner.push.model_copy(update={"batch": batch})})
    assert (plan(product, batched).visits, plan(product, batched).calls) == (3, 2)


# --- when it can be done, and what stops it

JAMMED = Limit(scope="organization", requests=10, per_seconds=600)
LAST = Limit(scope="vendor", requests=10, per_seconds=900)


def timed(product: Product, partner: Partner, *limits: Limit) -> Plan:
    limited = partner.model_copy(update={"limits": limits or (JAMMED,)})
    return plan_push(product.database.connect("release"), partner=limited, organizations=["sakura"], week=WEEK)


def use(product: Product, partner: Partner, count: int, *limits: Limit, organization: str = "sakura") -> Grant:
    """Calls that leave at this moment."""
    conn = product.database.connect("push")
    limited = limits_of(partner.model_copy(update={"limits": limits or (JAMMED,)}))
    grant = acquire(conn, partner=PARTNER, organization=organization, limits=limited, count=count, call_class="request")
    assert grant.count == count
    finish_grant(conn, grant)
    return grant


def test_calls_that_were_granted_a_moment_ago_count_in_the_finishing_time(product: Product, partner: Partner) -> None:
    assert timed(product, partner).seconds == 0
    use(product, partner, 7)
    assert timed(product, partner).seconds == 0, "three calls still fit"
    use(product, partner, 1)
    assert timed(product, partner).seconds == pytest.approx(600, abs=20)


def test_what_another_organization_has_used_up_of_a_limit_of_all_counts_as_well(
    product: Product, partner: Partner
) -> None:
    use(product, partner, 10, JAMMED, LAST, organization="ume")
    assert timed(product, partner, JAMMED).seconds == 0
    assert timed(product, partner, JAMMED, LAST).seconds == pytest.approx(900, abs=20)


def test_a_pause_that_the_partner_asked_for_counts_in_the_finishing_time(product: Product, partner: Partner) -> None:
    until_at = datetime.now(UTC) + timedelta(minutes=10)
    pause(product.database.connect("push"), partner=PARTNER, organization="sakura", until_at=until_at)
    assert timed(product, partner).seconds == pytest.approx(600, abs=20)


def test_what_the_partner_says_is_left_counts_in_the_finishing_time(product: Product, partner: Partner) -> None:
    grant = use(product, partner, 1)
    until_at = datetime.now(UTC) + timedelta(minutes=5)
    left = Quota(requests=10, window_seconds=600, remaining=2, reset_at=until_at)
    apply_told(product.database.connect("push"), grant, [left])
    assert timed(product, partner).seconds == pytest.approx(300, abs=20)


def test_a_plan_writes_nothing_into_the_ledger(product: Product, partner: Partner) -> None:
    use(product, partner, 7)
    query = "select b::text from sync.rate_bucket b union all select l::text from sync.rate_limit l order by 1"
    before = product.database.admin().execute(query).fetchall()
    timed(product, partner, JAMMED, LAST)
    assert product.database.admin().execute(query).fetchall() == before


def test_an_open_circuit_is_named_with_its_time_and_its_visits_are_still_planned(
    product: Product, partner: Partner
) -> None:
    conn = product.database.connect("push")
    report_calls(conn, Calls(failed=10), partner=PARTNER, organization="sakura", rule=CircuitRule(open_seconds=300))
    found = timed(product, partner)
    assert (found.calls, found.seconds) == (3, pytest.approx(300, abs=20))
    again_at = clock_time(found.stopped["sakura"].until_at, now=NOW)
    assert f"停止中: 連携先の障害のため呼び出しを停止中、{again_at}以降に再試行 (sakura): 予定 3件" in found.lines(
        "ja", now=NOW
    )
    told = f"stopped now: calls stopped after repeated failures, tried again from {again_at} on (sakura): 3 visits"
    assert told in found.lines("en", now=NOW)


@pytest.mark.parametrize(
    ("organization", "en", "ja"),
    [
        ("", "the partner is held by a person", "連携先との連携を担当者が停止中"),
        ("sakura", "the organization is held by a person", "法人の連携を担当者が停止中"),
    ],
)
def test_what_a_person_holds_is_named_and_has_no_finishing_time(
    product: Product, partner: Partner, organization: str, en: str, ja: str
) -> None:
    use(product, partner, 10)
    hold(product.database, organization)
    found = timed(product, partner)
    assert (found.calls, found.seconds) == (3, 0)
    assert f"stopped now: {en}, until it is resumed (sakura): 3 visits" in found.lines("en", now=NOW)
    assert f"停止中: {ja}、再開されるまで (sakura): 予定 3件" in found.lines("ja", now=NOW)
    assert found.lines("en", now=NOW)[0].endswith("(Asia/Tokyo, without what a person holds)")
    assert found.lines("ja", now=NOW)[0].endswith("(担当者が停止中の分を除く)")


def planned(world: World, *, anew: bool = False) -> set[tuple[str, date, str]]:
    rows = world.admin.execute(
        "select visit_id, week, action from sync.planned_calls(%s, 'sakura', %s, '{}', %s)",
        (PARTNER, WEEK.monday, anew),
    )
    return {tuple(row.values()) for row in rows}  # type: ignore[misc]  # rows are dicts


def to_do(world: World) -> set[tuple[str, date, str]]:
    """What a push of the week would take: items that need a call, of visits that have one in the week."""
    rows = world.admin.execute(
        "select t.visit_id, t.week, t.action from sync.todo t where sync.needs_call(t) and exists ("
        " select from sync.todo here where here.visit_id = t.visit_id and here.week = %s and sync.needs_call(here))",
        [WEEK.monday],
    )
    return {tuple(row.values()) for row in rows}  # type: ignore[misc]  # rows are dicts


#: Two visits in two finalized weeks, of which the second is released.
FINALIZED: list[tuple[Step, int]] = [(World.edit, 0), (World.edit, 7), (World.edit, 0)]
FINALIZED += [(STEPS[6], 0), (STEPS[6], 7), (STEPS[8], 7)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([0, 7])), max_size=10),
    anew=st.booleans(),
)
def test_what_is_planned_is_what_there_is_to_do_after_the_release(
    database: Database, steps: list[tuple[Step, int]], anew: bool
) -> None:
    world = played(database)
    for number, (step, days) in enumerate([*FINALIZED, *steps, (STEPS[6], 0)], start=1):
        step(world, number, days)
    world.admin.execute("update sync.link set enabled = true")
    found = planned(world, anew=anew)
    here = {visit_id for visit_id, week, _ in found if week == WEEK.monday}
    before = {row for row in found if row[0] in here}
    world.release(99, 0, mode="resend" if anew else "changes")
    assert before == to_do(world)
    database.close()
