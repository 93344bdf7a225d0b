"""The engine of a push: calls are always on their way, and whatever stops it loses nothing (rules 2-7 and 10)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from partner_sync.errors import (
    DatabaseAwayError,
    LimitReachedError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    SettlingError,
)
from partner_sync.limiter import acquire
from partner_sync.limits import limits_of
from postgres.keeping_partner import (
    BY_KEY,
    BY_NAME,
    DROP_AFTER,
    DROP_BEFORE,
    GRANTED,
    Fault,
    KeepingPartner,
    Pushes,
    partner_of,
)
from postgres.product import PARTNER, Product
from scripted_server import Came, Reply

RESULTS = "select visit_id, outcome, code from sync.push_result order by id"
OPEN = "select count(*)::integer from sync.push_attempt where state in ('claimed', 'sent')"


def retry_after(seconds: int, status: int = 429) -> Fault:
    return Fault(Reply(status, headers={"Retry-After": str(seconds)}))


# --- always on their way


def test_one_slow_call_holds_up_no_other(pushes: Callable[..., Pushes], keeping: KeepingPartner) -> None:
    keeping.wait_seconds = lambda came: 0.45 if came.path.endswith("/v0") else 0.0
    world = pushes(12, concurrency=2)
    started = time.monotonic()
    assert world.push().outcomes == {"accepted": 12}
    assert time.monotonic() - started < 5
    assert keeping.most_in_flight == 2


def test_as_many_calls_are_in_flight_as_the_file_allows_and_never_more(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    keeping.wait_seconds = lambda _came: 0.1
    assert pushes(16, concurrency=4).push().outcomes == {"accepted": 16}
    assert keeping.most_in_flight == 4


def test_what_has_not_left_when_the_partner_says_stop_stays_and_is_not_written_about(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(8, concurrency=1)
    keeping.faults.append(retry_after(30))
    with pytest.raises(LimitReachedError) as waiting:
        world.push()
    assert waiting.value.reason == "paused"
    assert len(keeping.calls("PUT")) == 1
    assert [row[1:] for row in world.rows(RESULTS)] == [("retry", "partner_rate_limited")]
    assert world.rows(OPEN) == [(0,)]


def test_a_call_whose_grant_has_expired_asks_again(pushes: Callable[..., Pushes], keeping: KeepingPartner) -> None:
    keeping.wait_seconds = lambda _came: 0.5
    world = pushes(3, concurrency=1, grant_ttl_seconds=0.4)
    world.push_until_quiet()
    assert len(keeping.calls("PUT")) == 3
    assert world.rows("select count(*) > 0 from sync.push_attempt where state = 'given_up'") == [(True,)]


def test_a_push_with_little_time_ends_in_time_and_leaves_nothing_claimed(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    keeping.wait_seconds = lambda _came: 0.3
    world = pushes(40, concurrency=2)
    started = time.monotonic()
    world.push(seconds=1.0)
    assert time.monotonic() - started < 3
    assert 0 < len(keeping.held) < 40
    assert world.rows(OPEN) == [(0,)]


def test_a_limit_that_opens_in_a_moment_is_waited_for_in_place(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    spaced = [{"scope": "organization", "requests": 10, "per_seconds": 1, "counts": "spaced"}]
    world = pushes(5, limits=spaced, jitter_seconds=0.05)
    assert world.push().outcomes == {"accepted": 5}
    assert world.rows(GRANTED) == [("sakura", 5)]


# --- nothing is lost


def test_when_the_database_goes_away_the_calls_on_their_way_are_read_back_by_the_next_push(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(8, concurrency=3, grant_ttl_seconds=0.5)

    def cut(came: Came) -> float:
        if len(keeping.server.came) == 3:
            kill = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sync_push'"
            world.rows(f"{kill} and datname = current_database()")
        return 0.2

    keeping.wait_seconds = cut
    with pytest.raises(DatabaseAwayError):
        world.push()
    keeping.wait_seconds = lambda _came: 0.0
    left = set(keeping.calls("PUT"))
    assert 3 <= len(left) < 8
    assert world.rows("select count(*) from sync.push_result") == [(0,)], "nobody could write down what came back"
    world.push_until_quiet()
    assert len(keeping.held) == 8
    assert len(keeping.calls("PUT")) == 8, "what had left was found there"
    assert {path for path in keeping.calls("GET")} >= left


def test_answers_for_visits_that_are_being_edited_wait_for_them_and_hold_up_no_other(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(5)
    editing, edited = threading.Event(), threading.Event()

    def hold(came: Came) -> float:
        if came.path.endswith("/v0"):
            editing.set()
            edited.wait(5)
        return 0.0

    keeping.wait_seconds = hold
    pushing = threading.Thread(target=world.push)
    pushing.start()
    editing.wait(5)
    with product.product.transaction():
        product.visit("v0", revision=2, note="edited meanwhile")
        edited.set()
        deadline = time.monotonic() + 5
        while world.rows("select count(*) from sync.push_result") != [(4,)] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert world.rows("select count(*) from sync.push_result") == [(4,)]
    pushing.join()
    world.push_until_quiet()
    assert ("v0", "O-1", "1", "edited meanwhile") in keeping.held


def test_a_look_up_that_brings_nothing_usable_is_tried_a_few_times_and_then_a_person_is_asked(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(1, {**BY_KEY, "max_attempts": 2}, settle=0.05, grant_ttl_seconds=0.5)
    keeping.faults.append(DROP_AFTER)
    keeping.look_ups = lambda _came: Reply(200, b"<html>maintenance</html>")
    world.push_until_quiet()
    assert [row[2] for row in world.rows(RESULTS)] == [
        "outcome_unknown", "partner_bad_answer", "outcome_unknown_person",
    ]  # fmt: skip
    assert len(keeping.calls("GET")) == 2
    assert world.push().parked == 1


def test_a_partner_that_is_away_while_it_should_be_asked_uses_up_no_try_and_is_called_unreachable(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(1, {**BY_KEY, "max_attempts": 1}, settle=0.05, grant_ttl_seconds=0.5)
    keeping.faults.append(DROP_AFTER)
    with pytest.raises(SettlingError):
        world.push()
    keeping.look_ups = lambda _came: Reply(503, headers={"Retry-After": "0"})
    time.sleep(0.1)
    with pytest.raises((PartnerUnavailableError, LimitReachedError)):
        world.push()
    keeping.look_ups = lambda _came: Reply(drop=True)
    with pytest.raises(PartnerUnavailableError):
        wait_and_push(world)
    keeping.look_ups = None
    world.push_until_quiet()
    assert world.rows(RESULTS)[-1][1] == "accepted"


def wait_and_push(world: Pushes) -> None:
    """Push until something is due."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            world.push()
        except (SettlingError, LimitReachedError):
            time.sleep(0.1)


# --- what passes, and what does not


@pytest.mark.parametrize("what", ["429", "503", "drop", "refused", "limit", "auth"])
def test_what_failed_for_a_passing_reason_goes_out_later_as_the_visit_stands_then(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product, what: str
) -> None:
    world = pushes(1)
    usual, address = world.partner, keeping.server.base_url
    faults = {"429": retry_after(0), "503": retry_after(1, 503), "drop": DROP_BEFORE, "auth": Fault(Reply(401))}
    if what in faults:
        keeping.faults.append(faults[what])
    elif what == "limit":
        world.partner = partner_of(BY_KEY, limits=[{"scope": "vendor", "requests": 1, "per_seconds": 3600}])
        use_up_the_limit(world)
    else:
        keeping.server.base_url = "http://127.0.0.1:9"
    with pytest.raises(PartnerSyncError) as stopped:
        world.push()
    assert isinstance(stopped.value, PartnerAuthError) == (what == "auth")
    product.visit("v0", revision=2, note="as it stands now")
    keeping.server.base_url, world.partner = address, usual
    release_pauses(world)
    world.push_until_quiet()
    assert ("v0", "O-1", "1", "as it stands now") in keeping.held
    assert world.rows("select count(*) from sync.push_result where outcome in ('dead', 'rejected')") == [(0,)]


def use_up_the_limit(world: Pushes) -> None:
    acquire(
        world.product.database.connect("push"), partner=PARTNER, organization="ume", limits=limits_of(world.partner),
        count=1, call_class="request",
    )  # fmt: skip


def release_pauses(world: Pushes) -> None:
    """As if the pauses had passed."""
    world.rows("delete from sync.rate_pause returning 1")


def test_what_cannot_succeed_ends_with_its_reason(pushes: Callable[..., Pushes], keeping: KeepingPartner) -> None:
    world = pushes(2, {**BY_KEY, "max_attempts": 2}, settle=0.05, grant_ttl_seconds=0.5, concurrency=1)
    keeping.faults.extend([DROP_BEFORE, Fault(Reply(400)), DROP_BEFORE])
    world.push_until_quiet()
    final = world.rows("select outcome, code, status from sync.push_result where final order by outcome")
    assert final == [("dead", "outcome_unknown", None), ("rejected", "partner_rejected", 400)]


def test_a_performed_visit_goes_out_as_performed(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(1)
    world.push()
    times = {"actual_start_at": "2026-11-23T01:05:00Z", "actual_end_at": "2026-11-23T02:10:00Z"}
    product.visit("v0", revision=2, status="performed", **times)
    world.push()
    assert keeping.held == [("v0", "O-1", "2", "")]


# --- partners that name visits themselves


def test_a_visit_that_somebody_took_away_at_the_partner_is_created_anew(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(1, BY_NAME)
    world.push()
    keeping.forget("v0")
    product.visit("v0", revision=2, note="changed")
    assert world.push().outcomes == {"retry": 1, "accepted": 1}
    assert keeping.held == [("v0", "O-1", "1", "changed")]
    assert [row[2] for row in world.rows(RESULTS)] == ["accepted", "visit_gone_at_partner", "accepted"]


def test_an_answer_that_does_not_name_the_visit_again_leaves_its_name_known(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(1, {**BY_NAME, "put": {**BY_NAME["put"], "accepted_at": "ok"}})
    world.push()
    keeping.faults.append(Fault(Reply(200, {"ok": True}), done=True))
    product.visit("v0", revision=2, note="changed")
    world.push()
    product.visit("v0", revision=3, status="cancelled")
    assert world.push().outcomes == {"withdrawn": 1}
    assert keeping.held == []


def test_a_lost_creation_is_looked_up_and_not_made_twice(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(3, BY_NAME, settle=0.05, grant_ttl_seconds=0.5)
    keeping.faults.extend([DROP_AFTER, DROP_BEFORE])
    world.push_until_quiet()
    assert [visit[0] for visit in keeping.held] == ["v0", "v1", "v2"]
    assert len(keeping.calls("POST")) == 4


# --- grants


def test_an_office_whose_limit_is_reached_holds_up_no_other_office(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(4, limits=[{"scope": "office", "requests": 2, "per_seconds": 3600}])
    for number in range(3):
        product.visit(f"w{number}", office_id=2)
    product.week("finalized", office=2)
    world.release()
    with pytest.raises(LimitReachedError):
        world.push()
    assert [visit[1] for visit in keeping.held] == ["O-1", "O-1", "O-2", "O-2"]


def test_each_call_has_its_grant_under_its_own_endpoint(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    endpoints = ["GET /v1/visits", "POST /v1/visits", "DELETE /v1/visits/{ref}"]
    limits = [{"scope": "endpoint", "endpoint": each, "requests": 5, "per_seconds": 3600} for each in endpoints]
    world = pushes(1, BY_NAME, limits=limits, settle=0.05, grant_ttl_seconds=0.5)
    keeping.faults.append(DROP_AFTER)
    with pytest.raises(SettlingError):
        world.push()
    product.visit("v0", revision=2, status="cancelled")
    world.push_until_quiet()
    assert keeping.held == []
    assert world.rows(GRANTED) == [("DELETE /v1/visits/{ref}", 1), ("GET /v1/visits", 1), ("POST /v1/visits", 1)]


def test_a_lost_answer_that_is_sent_again_under_its_key_is_granted_under_its_office(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    push = {key: value for key, value in BY_KEY.items() if key != "read_back"} | {"read_back": None}
    world = pushes(
        1, push, limits=[{"scope": "office", "requests": 9, "per_seconds": 60}], settle=0.05, grant_ttl_seconds=0.5
    )
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet()
    assert len(keeping.calls("PUT")) == 2
    assert world.rows(GRANTED) == [("sakura/1", 2)]
    keys = {came.headers["idempotency-key"] for came in keeping.server.came}
    assert len(keys) == 1


def test_a_visit_that_is_edited_for_long_does_not_keep_the_push_from_ending_and_its_answer_is_not_lost(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(1)
    editor = product.database.connect("product")

    def edit(_came: Came) -> float:
        editor.execute("begin")
        editor.execute("update schedule.visit set revision = 2, note = 'x' where visit_id = 'v0'")
        return 0.0

    keeping.wait_seconds = edit
    started = time.monotonic()
    with pytest.raises(SettlingError):
        world.push()
    assert time.monotonic() - started < 8
    with pytest.raises(SettlingError):
        world.push()
    editor.execute("rollback")
    world.push()
    assert world.rows(RESULTS) == [("v0", "accepted", "accepted")]
    assert len(keeping.server.came) == 1, "it was neither looked up nor sent again"
