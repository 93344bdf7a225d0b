"""Answers that were lost, or cannot be believed: nothing is booked twice, nothing believed that nobody has shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from partner_sync.catalogue import sentence
from partner_sync.delivery.answers import parked_lines
from partner_sync.delivery.parked import ParkedOutcome, answer_parked
from partner_sync.errors import PartnerSyncError, SettlingError
from postgres.keeping_partner import BY_KEY, BY_NAME, DROP_AFTER, DROP_BEFORE, Fault, KeepingPartner, Pushes
from postgres.product import PARTNER
from scripted_server import Came, Reply

Made = Callable[..., Pushes]
KEY_ONLY: dict[str, Any] = {**BY_KEY, "read_back": None}
#: The partner names visits itself, takes an idempotency key, and shows nothing.
NAMED_BY_KEY: dict[str, Any] = {
    **BY_NAME,
    "post": {**BY_NAME["post"], "idempotency_header": "Idempotency-Key"},
    "put": {**BY_NAME["put"], "idempotency_header": "Idempotency-Key"},
    "read_back": None,
}
NEITHER: dict[str, Any] = {**BY_NAME, "read_back": None}
FINAL = "select outcome from sync.push_result where final order by id"
NEWEST = "select outcome, code from sync.push_result order by id desc limit 1"
PARKED = "select visit_id from sync.parked"


def records_of(keeping: KeepingPartner, visit: str) -> list[dict[str, Any]]:
    return [held for held in list(keeping.visits.values()) if held["id"] == visit]


def say(world: Pushes, *, there: bool) -> ParkedOutcome | None:
    """A person's word on the first visit."""
    world.runs += 1
    return answer_parked(
        world.product.database.connect("release"), partner=PARTNER, organization="sakura", visit_id="v0", there=there,
        requested_by="planner-1", run_key=f"word-{world.runs}",
    )  # fmt: skip


def give_another_key(world: Pushes) -> None:
    """The partner gives a patient another key."""
    world.rows(
        "update canonical.crosswalk set source_key = 'P-new' where entity = 'patient' and canonical_id = 11 returning 1"
    )


# --- what is there under a name that nobody has learnt


def test_a_visit_that_a_person_has_found_there_is_not_created_a_second_time(
    pushes: Made, keeping: KeepingPartner
) -> None:
    world = pushes(1, NEITHER, settle=0.05)
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    assert world.rows(PARKED) == [("v0",)]
    assert say(world, there=True) == "accepted"
    world.product.visit("v0", revision=2, note="later")
    world.push_until_quiet()
    assert len(records_of(keeping, "v0")) == 1
    assert (world.rows(PARKED), world.rows(NEWEST)) == ([("v0",)], [("unknown", "visit_name_unknown")])


@pytest.mark.parametrize("there", [True, False])
def test_a_person_changes_a_visit_without_a_name_by_hand_or_lets_it_be_created_anew(
    pushes: Made, keeping: KeepingPartner, *, there: bool
) -> None:
    world = pushes(1, NEITHER, settle=0.05)
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    say(world, there=True)
    world.product.visit("v0", revision=2, note="later")
    world.push_until_quiet()
    if not there:
        keeping.forget("v0")
    assert say(world, there=there) == ("accepted" if there else "retry")
    world.push_until_quiet()
    assert (len(records_of(keeping, "v0")), world.rows(PARKED)) == (1, [])
    assert len(keeping.calls("POST")) == (1 if there else 2)


@pytest.mark.parametrize("there", [True, False])
def test_a_visit_without_a_name_that_is_to_be_taken_away_waits_for_a_person(
    pushes: Made, keeping: KeepingPartner, *, there: bool
) -> None:
    world = pushes(1, NEITHER, settle=0.05)
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    say(world, there=True)
    world.product.visit("v0", revision=2, status="cancelled")
    world.push_until_quiet()
    assert say(world, there=there) == ("retry" if there else "withdrawn")
    world.push_until_quiet()
    assert world.rows(PARKED) == ([("v0",)] if there else [])


def test_a_visit_whose_name_the_read_back_did_not_show_is_not_created_again(
    pushes: Made, keeping: KeepingPartner
) -> None:
    world = pushes(1, BY_NAME, settle=0.05)
    shown = [False]

    def listed(_came: Came) -> Reply:
        held = list(keeping.visits.values())
        return Reply(200, {"data": [visit if shown[0] else {**visit, "no": None} for visit in held]})

    keeping.look_ups = listed
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    assert world.rows(FINAL) == [("accepted",)]
    shown[0] = True
    world.product.visit("v0", revision=2, note="later")
    world.push_until_quiet()
    assert [held["note"] for held in records_of(keeping, "v0")] == ["later"]
    assert len(keeping.calls("PUT")) == 1


# --- a name that the partner does not know


def test_one_stray_404_to_a_change_books_nothing_twice(pushes: Made, keeping: KeepingPartner) -> None:
    world = pushes(1, BY_NAME, settle=0.05)
    world.push_until_quiet()
    world.product.visit("v0", revision=2, note="later")
    keeping.faults.append(Fault(Reply(404, b"<html>deploying</html>")))
    world.push_until_quiet()
    assert [held["note"] for held in records_of(keeping, "v0")] == ["later"]


@pytest.mark.parametrize("style", [BY_KEY, BY_NAME])
def test_one_stray_404_to_a_withdraw_leaves_no_visit_behind(
    pushes: Made, keeping: KeepingPartner, style: dict[str, Any]
) -> None:
    world = pushes(1, style, settle=0.05)
    world.push_until_quiet()
    world.product.visit("v0", revision=2, status="cancelled")
    keeping.faults.append(Fault(Reply(404, b"<html>deploying</html>")))
    world.push_until_quiet()
    assert records_of(keeping, "v0") == []
    assert world.rows(NEWEST) == [("withdrawn", "withdrawn")]


def test_a_404_to_a_change_goes_to_a_person_where_nothing_can_be_looked_up(
    pushes: Made, keeping: KeepingPartner
) -> None:
    world = pushes(1, NEITHER, settle=0.05)
    world.push_until_quiet()
    world.product.visit("v0", revision=2, note="later")
    keeping.forget("v0")
    world.push_until_quiet()
    assert (world.rows(PARKED), world.rows(NEWEST)) == ([("v0",)], [("unknown", "visit_name_unknown")])
    conn = world.product.database.connect("run")
    _, why = parked_lines(conn, partner=PARTNER, organizations=["sakura"])
    assert sentence("visit_name_unknown", "en", partner=PARTNER) in why
    assert say(world, there=False) == "retry"
    world.push_until_quiet()
    assert [held["note"] for held in records_of(keeping, "v0")] == ["later"]


# --- what a read-back shows


def test_a_read_back_list_that_is_not_complete_says_nothing_about_a_visit(
    pushes: Made, keeping: KeepingPartner
) -> None:
    paging = {"style": "page_number", "page": "page", "last_at": "last", "total_at": "total"}
    read_back = {**BY_NAME["read_back"], "parameters": ["week"], "paging": paging}
    world = pushes(2, {**BY_NAME, "read_back": read_back}, settle=0.05)
    left = [4]

    def listed(came: Came) -> Reply:
        shown = sorted(keeping.visits.values(), key=lambda visit: visit["id"])
        if left[0] and len(shown) == 2:
            # The first page twice: a cache before the partner that leaves the parameter aside.
            left[0] -= 1
            return Reply(200, {"data": shown[:1], "last": 2, "total": 2})
        at = int(came.query["page"]) - 1
        return Reply(200, {"data": shown[at : at + 1], "last": max(1, len(shown)), "total": len(shown)})

    keeping.look_ups = listed
    keeping.faults.extend([DROP_AFTER, DROP_AFTER])
    world.push_until_quiet()
    assert (len(records_of(keeping, "v0")), len(records_of(keeping, "v1"))) == (1, 1)
    assert world.rows("select count(*) > 0 from sync.push_result where code = 'partner_bad_answer' and counted") == [
        (True,)
    ]


@pytest.mark.parametrize("fault", [DROP_BEFORE, DROP_AFTER])
def test_a_list_under_the_visits_own_path_is_read_back(pushes: Made, keeping: KeepingPartner, fault: Fault) -> None:
    read_back = {"path": "/v1/visits/{key}", "records_at": "data", "key_at": "id"}
    world = pushes(1, {**BY_KEY, "read_back": read_back}, settle=0.05)

    def listed(came: Came) -> Reply:
        held = keeping.visits.get(came.path.rpartition("/")[2])
        return Reply(200, {"data": [held]}) if held else Reply(404)

    keeping.look_ups = listed
    keeping.faults.append(fault)
    world.push_until_quiet()
    assert world.rows(FINAL) == [("accepted",)]
    assert set(keeping.calls("GET")) == {"/v1/visits/v0"}


def without_notes(keeping: KeepingPartner) -> Callable[[Came], Reply]:
    def answer(came: Came) -> Reply:
        held = [visit for name, visit in keeping.visits.items() if name == came.path.rpartition("/")[2]]
        return Reply(200, {"data": {name: value for name, value in held[0].items() if name != "note"}})

    return answer


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_change_of_a_field_that_the_partner_does_not_show_is_sent_again(
    pushes: Made, keeping: KeepingPartner, lost: int
) -> None:
    world = pushes(1, BY_KEY, settle=0.05)
    world.push_until_quiet()
    keeping.look_ups = without_notes(keeping)
    world.product.visit("v0", revision=2, note="the key is at the neighbour's")
    keeping.faults.extend([DROP_BEFORE] * lost)
    world.push_until_quiet()
    assert keeping.visits["v0"]["note"] == "the key is at the neighbour's"
    assert len(keeping.calls("PUT")) == 2 + lost


@pytest.mark.parametrize(("action", "calls"), [("created", 1), ("changed", 2)])
def test_what_a_field_that_is_shown_proves_is_not_sent_again(
    pushes: Made, keeping: KeepingPartner, action: str, calls: int
) -> None:
    world = pushes(1, BY_KEY, settle=0.05)
    keeping.look_ups = without_notes(keeping)
    if action == "changed":
        world.push_until_quiet()
        world.product.visit("v0", revision=2, note="with a note", status="performed")
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    assert {row[0] for row in world.rows(FINAL)} == {"accepted"}
    assert len(keeping.calls("PUT")) == calls


def test_a_lost_change_that_nothing_shows_and_that_cannot_be_repeated_goes_to_a_person(
    pushes: Made, keeping: KeepingPartner
) -> None:
    world = pushes(1, {**BY_KEY, "put": {"method": "PATCH", "path": "/v1/visits/{key}"}}, settle=0.05)
    world.push_until_quiet()
    keeping.look_ups = without_notes(keeping)
    world.product.visit("v0", revision=2, note="later")
    keeping.faults.append(DROP_BEFORE)
    world.push_until_quiet()
    assert (world.rows(PARKED), len(keeping.calls("PATCH"))) == ([("v0",)], 2)


# --- a key carries one request


def lose_an_answer(world: Pushes, keeping: KeepingPartner) -> None:
    keeping.faults.append(DROP_AFTER)
    with pytest.raises(SettlingError):
        world.push()


@pytest.mark.parametrize("push", [BY_KEY, KEY_ONLY])
def test_who_gets_another_key_while_an_answer_is_lost_is_not_believed_to_be_there_under_it(
    pushes: Made, keeping: KeepingPartner, push: dict[str, Any]
) -> None:
    world = pushes(1, push, settle=0.3)
    lose_an_answer(world, keeping)
    give_another_key(world)
    time.sleep(0.35)
    world.push_until_quiet()
    assert world.rows(FINAL) == [("accepted",)]
    assert keeping.visits["v0"]["patient"] == "P-new"
    bodies: dict[str, set[bytes]] = {}
    for came in [came for came in keeping.server.came if came.method == "PUT"]:
        bodies.setdefault(came.headers["idempotency-key"], set()).add(came.body)
    assert [len(each) for each in bodies.values()] == [1, 1]


@pytest.mark.parametrize("rekeyed", [False, True])
def test_a_lost_creation_is_repeated_as_it_was_or_goes_to_a_person(
    pushes: Made, keeping: KeepingPartner, *, rekeyed: bool
) -> None:
    world = pushes(1, NAMED_BY_KEY, settle=0.3)
    lose_an_answer(world, keeping)
    if rekeyed:
        give_another_key(world)
    time.sleep(0.35)
    world.push_until_quiet()
    assert len(records_of(keeping, "v0")) == 1
    newest = ("unknown", "lost_call_differs") if rekeyed else ("accepted", "accepted")
    assert (world.rows(NEWEST), len(keeping.calls("POST"))) == ([newest], 1 if rekeyed else 2)


# --- a call that is never answered usably


def push_often(world: Pushes, times: int) -> None:
    for _ in range(times):
        try:
            world.push()
        except PartnerSyncError:
            time.sleep(0.02)


@pytest.mark.parametrize("reply", [Reply(500), Reply(409), Reply(200, b"<html>busy</html>")])
def test_a_call_that_is_never_answered_usably_goes_to_a_person_also_where_only_a_key_helps(
    pushes: Made, keeping: KeepingPartner, reply: Reply
) -> None:
    world = pushes(1, {**KEY_ONLY, "max_attempts": 3}, settle=0.01, circuit={"failures": 1000}, grant_ttl_seconds=0.5)
    keeping.faults.extend([Fault(reply)] * 30)
    push_often(world, 10)
    assert world.rows(PARKED) == [("v0",)]
    assert len(keeping.calls("PUT")) == 4
    assert len({came.headers["idempotency-key"] for came in keeping.server.came}) == 1


@pytest.mark.parametrize("reply", [Reply(502), Reply(drop=True), Reply(503, headers={"Retry-After": "0"})])
def test_a_partner_that_is_away_uses_up_no_repeat_and_the_first_call_stays_unknown(
    pushes: Made, keeping: KeepingPartner, reply: Reply
) -> None:
    push = {**NAMED_BY_KEY, "max_attempts": 2}
    world = pushes(1, push, settle=0.01, circuit={"failures": 1000}, grant_ttl_seconds=0.5)
    lose_an_answer(world, keeping)
    keeping.faults.extend([Fault(reply)] * 4)
    world.product.visit("v0", revision=2, note="changed meanwhile")
    for _ in range(10):
        push_often(world, 1)
        world.rows("delete from sync.rate_pause returning 1")
    world.push_until_quiet()
    assert [held["note"] for held in records_of(keeping, "v0")] == ["changed meanwhile"]
    assert world.rows("select count(*) from sync.push_result where counted") == [(0,)]


# --- a parked visit waits for a word on itself


def test_a_resend_of_the_week_does_not_create_a_visit_of_which_nobody_has_said_that_it_is_missing(
    pushes: Made, keeping: KeepingPartner
) -> None:
    world = pushes(2, NEITHER, settle=0.05)
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    world.release(mode="resend")
    world.push_until_quiet()
    assert (len(records_of(keeping, "v0")), len(records_of(keeping, "v1"))) == (1, 1)
    assert len(world.rows(PARKED)) == 1
    assert len(keeping.calls("PUT")) == 1, "the other one is sent again"
