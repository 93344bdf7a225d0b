"""``resend failed`` asks anew for what was rejected or given up, after its cause is mended; nothing else goes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from partner_sync.delivery.requeue import FailedWeek, failed_visits, plan_failed, requeue_failed
from partner_sync.links import Link
from partner_sync.runs import outcomes_of
from partner_sync.steps.organizations import Doors
from partner_sync.steps.outcomes import RunName
from partner_sync.steps.release import ReleaseWork, plan_release, requeue_organizations
from postgres.desk import Desk
from postgres.product import WEEK, make_product
from postgres_server import Database
from scripted_server import Came, Reply


@pytest.fixture
def desk(database: Database) -> Iterator[Desk]:
    """v1 is at the partner; v2 was rejected."""
    desk = Desk(make_product(database), "keyed")
    with desk.server:
        refuse(desk, "v2")
        desk.product.closed_week("v1", "v2")
        desk.release()
        desk.push()
        yield desk


def refuse(desk: Desk, *visits: str) -> None:
    """The partner rejects these visits from now on, and takes the others."""

    def answer(came: Came) -> Reply:
        refused = came.method == "PUT" and came.path.endswith(visits)
        return Reply(422, {}) if refused else desk.keeper.answer(came)

    desk.server.answer = answer if visits else desk.keeper.answer


def requeue(desk: Desk, run: str = "again") -> int:
    failed = FailedWeek(partner="honoka", week=WEEK, run_key=run)
    return requeue_failed(
        desk.product.database.connect("release"), failed, organization="sakura", requested_by="planner-1"
    )


def work(desk: Desk, run: str = "again") -> ReleaseWork:
    link = Link(partner="honoka", organization="sakura", connection_id="c", directions=("schedule",))
    return ReleaseWork(
        partner=desk.partner, links=(link,), week=WEEK, mode="failed", requested_by="planner-1",
        run=RunName(partner="honoka", run_key=run, dag="schedule_push"),
    )  # fmt: skip


def doors(desk: Desk) -> Doors:
    def nobody(_link: Link) -> None:
        raise AssertionError("no partner is called")

    return Doors(connect=desk.product.database.connect, access=nobody)  # type: ignore[arg-type]


def test_the_rejected_visit_goes_again_when_its_cause_is_mended_and_no_other_does(desk: Desk) -> None:
    refuse(desk)
    assert requeue(desk) == 1
    before = len(desk.server.came)
    assert desk.push("again").outcomes == {"accepted": 1}
    assert [came.path for came in desk.server.came[before:]] == ["/v1/visits/v2"]


def test_a_visit_that_is_rejected_once_more_can_be_asked_for_once_more(desk: Desk) -> None:
    assert requeue(desk) == 1
    assert desk.push("again").outcomes == {"rejected": 1}
    refuse(desk)
    assert requeue(desk, "third") == 1
    assert desk.push("third").outcomes == {"accepted": 1}


def test_a_run_that_asks_twice_adds_nothing(desk: Desk) -> None:
    assert (requeue(desk), requeue(desk)) == (1, 1)
    assert desk.rows("select count(*) from sync.requeue") == [(1,)]


def test_what_this_run_has_asked_for_is_planned_again_when_its_plan_is_made_again(desk: Desk) -> None:
    requeue(desk)
    failed = FailedWeek(partner="honoka", week=WEEK, run_key="again")
    release = desk.product.database.connect("release")
    plan = plan_failed(release, failed, partner=desk.partner, organizations=["sakura"])
    assert (plan.visits, plan.organizations[0].sample_visit_ids) == (1, ("v2",))
    other = FailedWeek(partner="honoka", week=WEEK, run_key="another")
    assert failed_visits(release, other, organization="sakura") == []


def test_an_edited_visit_is_no_failure_any_more(desk: Desk) -> None:
    desk.product.visit("v2", revision=2, note="mended")
    assert requeue(desk) == 0


def test_a_reopened_week_has_nothing_to_send_again(desk: Desk) -> None:
    desk.product.week("reopened")
    assert requeue(desk) == 0


def test_the_step_tells_how_many_were_asked_for_and_releases_nothing(desk: Desk) -> None:
    planned = plan_release(doors(desk), work(desk))
    assert planned.plan.visits == 1
    assert requeue_organizations(doors(desk), work(desk)) == ("sakura",)
    told = outcomes_of(desk.product.database.connect("run"), partner="honoka", run_key="again")
    assert [(each.outcome, each.code, each.counts) for each in told] == [("ok", "requeued", {"requeued": 1})]
    assert desk.rows("select run_key from sync.push_request") == [("release",)]


def test_without_a_failure_the_step_says_so_and_gives_nobody_to_push(desk: Desk) -> None:
    desk.product.visit("v2", revision=2, note="mended")
    assert requeue_organizations(doors(desk), work(desk)) == ()
    told = outcomes_of(desk.product.database.connect("run"), partner="honoka", run_key="again")
    assert [(each.outcome, each.code) for each in told] == [("skipped", "nothing_failed")]
