"""Reconcile says what a partner holds of a week beside what it should hold, and repairs it by the usual way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from partner_sync.delivery.comparison import Findings
from partner_sync.errors import BadAnswerError, LimitReachedError
from partner_sync.weeks import Week
from postgres.desk import Desk
from postgres.product import make_product
from postgres.visit_keeper import SHAPES, Shape
from postgres_server import Database
from scripted_server import Came, Reply

NEXT = Week(date(2026, 11, 30))


@pytest.fixture
def shape(request: pytest.FixtureRequest) -> Shape:
    found: Shape = getattr(request, "param", "keyed")
    return found


@pytest.fixture
def desk(database: Database, shape: Shape) -> Iterator[Desk]:
    """Five visits of a finalized, released week are at the partner, and their settle time is over."""
    desk = Desk(make_product(database), shape)
    with desk.server:
        desk.product.closed_week("v1", "v2", "v3", "v4", "v5")
        desk.release()
        desk.push()
        desk.settle()
        yield desk


everywhere = pytest.mark.parametrize("shape", SHAPES, indirect=True)
listing = pytest.mark.parametrize("shape", ["keyed", "named"], indirect=True)
named = pytest.mark.parametrize("shape", ["named"], indirect=True)


@everywhere
def test_a_week_that_the_partner_holds_as_it_should_has_no_difference(desk: Desk) -> None:
    assert desk.compare() == Findings(same=5)
    assert desk.repair() == 0
    assert desk.rows("select * from sync.todo") == []


@everywhere
def test_what_was_deleted_there_is_missing_and_a_repair_puts_it_back(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v2")
    del desk.keeper.records[name]
    assert desk.compare() == Findings(same=4, differences={"missing": 1})
    assert desk.repair_and_push() == Findings(same=5)
    assert len(desk.keeper.names_of("v2")) == 1


@everywhere
def test_what_was_changed_there_is_different_with_the_names_of_the_fields(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v3")
    desk.keeper.records[name]["note"] = "typed there"
    desk.keeper.records[name]["patient"] = "P-9"
    assert desk.compare() == Findings(same=4, differences={"different": 1})
    assert desk.items() == [("v3", "different", None, ["patient", "note"])]
    assert desk.repair_and_push() == Findings(same=5)
    assert desk.keeper.records[name]["patient"] == "P-11"


@listing
def test_a_cancelled_visit_that_came_back_there_is_extra_and_is_taken_away_again(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v4")
    record = desk.keeper.records[name]
    desk.product.visit("v4", revision=2, status="cancelled")
    desk.push()
    desk.settle()
    desk.keeper.keep(record, None if desk.keeper.named else name)
    assert desk.compare() == Findings(same=4, differences={"extra": 1})
    assert desk.repair_and_push() == Findings(same=4)
    assert desk.keeper.names_of("v4") == []
    deletes = [came for came in desk.server.came if came.method == "DELETE"]
    attempts = desk.rows("select count(*) from sync.push_attempt where action = 'withdraw' and state = 'settled'")
    assert attempts == [(len(deletes),)], "nothing is deleted but by a claimed attempt"


@named
def test_a_record_without_our_id_is_counted_as_not_ours_and_never_touched(desk: Desk) -> None:
    by_hand = {"when": {"start": "2026-11-24T09:00:00+09:00"}, "note": "typed there"}
    desk.keeper.keep(by_hand)
    desk.keeper.keep(by_hand | {"ours": "山田 花子"})
    assert desk.compare() == Findings(same=5, not_ours=2)
    assert desk.repair_and_push() == Findings(same=5, not_ours=2)
    assert len(desk.keeper.records) == 7


@listing
def test_an_id_that_the_schedule_does_not_know_is_reported_and_never_taken_away(desk: Desk) -> None:
    record = next(iter(desk.keeper.records.values()))
    desk.keeper.keep(record | {"ours": "v77"}, None if desk.keeper.named else "v77")
    assert desk.compare() == Findings(same=5, differences={"foreign": 1})
    assert desk.items()[0][1:3] == ("extra", "unknown_visit")
    assert desk.repair() == 0
    assert len(desk.keeper.records) == 6


@listing
def test_a_visit_of_another_organization_is_reported_and_never_taken_away(desk: Desk) -> None:
    other = make_product(desk.product.database, organization="momiji", base=100)
    other.visit("m1")
    record = next(iter(desk.keeper.records.values()))
    desk.keeper.keep(record | {"ours": "m1"}, None if desk.keeper.named else "m1")
    assert desk.compare() == Findings(same=5, differences={"foreign": 1})
    assert desk.items()[0][1:3] == ("extra", "other_organization")
    assert desk.repair() == 0


@named
def test_a_visit_that_stands_there_twice_is_reported_for_a_person(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v1")
    desk.keeper.keep(dict(desk.keeper.records[name]))
    assert desk.compare() == Findings(same=5, differences={"duplicate": 1})
    assert desk.rows("select partner_ref from sync.reconciliation_item") == [("N0006",)]
    assert desk.repair() == 0


@named
def test_a_visit_that_was_deleted_and_typed_in_anew_is_known_by_its_new_name_after_a_repair(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v1")
    again = desk.keeper.keep(desk.keeper.records.pop(name))
    assert desk.compare() == Findings(same=4, differences={"different": 1})
    assert desk.items()[0][2] == "renamed"
    assert desk.repair_and_push() == Findings(same=5)
    desk.product.visit("v1", revision=2, note="ring twice")
    desk.push()
    assert desk.keeper.records[again]["note"] == "ring twice"


@listing
def test_a_visit_that_was_moved_there_into_the_week_goes_back_to_the_week_it_belongs_to(desk: Desk) -> None:
    desk.product.visit("n1", day=NEXT.monday)
    desk.product.week("finalized", week=NEXT)
    desk.release(run="next", week=NEXT)
    desk.push()
    desk.settle()
    [name] = desk.keeper.names_of("n1")
    desk.keeper.records[name]["when"] = {"start": "2026-11-25T10:00:00+09:00", "end": "2026-11-25T11:00:00+09:00"}
    assert desk.compare() == Findings(same=5, differences={"different": 1})
    assert desk.repair_and_push() == Findings(same=5)
    assert desk.keeper.records[name]["when"]["start"] == "2026-11-30T10:00:00+09:00"


def test_what_is_on_its_way_is_not_settled_and_no_difference(desk: Desk) -> None:
    desk.product.visit("v1", revision=2, note="later")
    desk.product.visit("v9")
    assert desk.compare() == Findings(same=4, unsettled={"pending": 2})
    assert desk.repair() == 0


def test_what_was_refused_there_is_listed_apart(desk: Desk) -> None:
    def refusing(came: Came) -> Reply:
        return Reply(422, {}) if came.method in {"PUT", "POST"} else desk.keeper.answer(came)

    desk.server.answer = refusing
    desk.product.visit("v9")
    desk.push()
    desk.settle()
    assert desk.compare() == Findings(same=5, unsettled={"rejected": 1})
    assert desk.repair() == 0


def test_a_change_that_was_refused_because_the_visit_is_gone_there_is_missing(desk: Desk) -> None:
    del desk.keeper.records["v2"]
    desk.server.answer = lambda came: Reply(404, {}) if came.method == "PUT" else desk.keeper.answer(came)
    desk.product.visit("v2", revision=2, note="edited meanwhile")
    assert desk.push("p2").outcomes == {"rejected": 1}
    desk.server.answer = desk.keeper.answer
    desk.settle()
    assert desk.compare() == Findings(same=4, differences={"missing": 1})
    assert desk.repair_and_push() == Findings(same=5)


def test_what_lacks_a_key_at_the_partner_is_listed_as_blocked(desk: Desk) -> None:
    desk.product.database.admin().execute("delete from canonical.crosswalk where canonical_id = 12")
    desk.product.visit("v9", patient_id=12)
    assert desk.compare() == Findings(same=5, unsettled={"blocked": 1})


def test_a_reopened_week_is_left_alone(desk: Desk) -> None:
    desk.product.week("reopened")
    found = desk.compare()
    assert found.differing == 0
    assert desk.repair() == 0


def test_before_the_settle_time_is_over_nothing_counts_as_a_difference(desk: Desk) -> None:
    desk.partner = desk.partner.model_copy(
        update={"timeouts": desk.partner.timeouts.model_copy(update={"settle_after_seconds": 600.0})}
    )
    [name] = desk.keeper.names_of("v2")
    del desk.keeper.records[name]
    assert desk.compare() == Findings(same=4, unsettled={"too_new": 1})


def test_a_difference_that_only_the_list_shows_is_none(desk: Desk) -> None:
    """A list that is late, or whose pages shift while it is read, is confirmed visit by visit."""

    def late(came: Came) -> Reply:
        found = desk.keeper.answer(came)
        if came.path == "/v1/visits":
            kept = [record for record in found.body["data"] if record["id"] != "v3"]
            found.body["total"] -= 1
            found.body["data"] = [{**record, "note": "old"} if record["id"] == "v4" else record for record in kept]
        return found

    desk.server.answer = late
    assert desk.compare() == Findings(same=5)


def test_a_list_that_loses_a_page_fails_and_is_read_anew_by_the_next_try(desk: Desk) -> None:
    def lossy(came: Came) -> Reply:
        found = desk.keeper.answer(came)
        return replace(found, body={**found.body, "total": 9}) if came.path == "/v1/visits" else found

    desk.server.answer = lossy
    with pytest.raises(BadAnswerError):
        desk.compare()
    desk.server.answer = desk.keeper.answer
    assert desk.compare() == Findings(same=5)


@pytest.mark.parametrize("shape", ["keyed, list only"], indirect=True)
def test_without_a_read_back_a_visit_is_missing_only_when_two_readings_of_the_list_say_so(desk: Desk) -> None:
    reads: list[str] = []

    def first_reading_is_empty(came: Came) -> Reply:
        reads.append(came.query.get("page", ""))
        return Reply(200, {"data": [], "last": 1, "total": 0}) if len(reads) == 1 else desk.keeper.answer(came)

    desk.server.answer = first_reading_is_empty
    assert desk.compare() == Findings(same=5)
    assert reads == ["1", "1", "2", "3"]


@pytest.mark.parametrize(("shape", "calls"), [("keyed", 2), ("keyed, read-back only", 4)], indirect=["shape"])
def test_a_comparison_that_meets_the_limit_goes_on_where_it_was(desk: Desk, calls: int) -> None:
    narrow = [limit.model_copy(update={"requests": calls, "per_seconds": 2.5}) for limit in desk.partner.limits]
    desk.partner = desk.partner.model_copy(update={"limits": tuple(narrow)})
    before = len(desk.server.came)
    found, waits = None, 0
    while found is None:
        try:
            found = desk.compare()
        except LimitReachedError as waiting:
            waits += 1
            time.sleep(max(0.05, (waiting.retry_at - datetime.now(UTC)).total_seconds()))
    assert (found, waits > 0) == (Findings(same=5), True)
    asked = [(came.path, tuple(sorted(came.query.items()))) for came in desk.server.came[before:]]
    assert len(asked) == len(set(asked)), "nothing is asked twice"


def test_a_repair_that_is_run_again_asks_for_nothing_twice(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v2")
    del desk.keeper.records[name]
    desk.compare()
    assert (desk.repair(), desk.repair()) == (1, 1)
    assert desk.rows("select count(*) from sync.requeue") == [(1,)]


def test_a_visit_that_changed_since_the_comparison_is_not_repaired(desk: Desk) -> None:
    [name] = desk.keeper.names_of("v2")
    del desk.keeper.records[name]
    desk.compare()
    desk.product.visit("v2", revision=2, note="edited meanwhile")
    assert desk.repair() == 0
    assert desk.compare("r2").unsettled == {"pending": 1}


def test_the_to_do_table_is_what_the_view_says_and_is_rebuilt_where_it_is_not(desk: Desk) -> None:
    desk.product.visit("v1", revision=2, note="later")
    desk.product.visit("v2", revision=2, note="later")
    admin = desk.product.database.admin()
    admin.execute("delete from sync.todo where visit_id = 'v1'")
    admin.execute("update sync.todo set generation = 7 where visit_id = 'v2'")
    assert desk.compare().todo_rebuilt == 2
    pending = "select partner, visit_id, week, action, version, generation from sync.pending order by visit_id"
    assert desk.rows(pending) == desk.rows(pending.replace("pending", "todo"))
    assert desk.compare("r2").todo_rebuilt == 0


def test_a_repair_never_comes_before_what_a_planner_asks_for(desk: Desk) -> None:
    assert desk.compare().same == 5
    classes = desk.rows("select distinct call_class from sync.rate_demand")
    assert ("request",) not in classes
