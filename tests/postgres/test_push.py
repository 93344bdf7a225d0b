"""A released week reaches the practice partner once, in order, whatever happens on the way (rules 2-7)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from partner_sync.delivery.parked import answer_parked, parked_visits
from partner_sync.delivery.plan import masked_bodies, plan_push, sample_calls
from partner_sync.delivery.push import PushCounts
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.errors import (
    BadAnswerError,
    LimitReachedError,
    PartnerAuthError,
    PartnerUnavailableError,
    SettlingError,
)
from partner_sync.kinds.interface import Gate, PartnerKind
from partner_sync.partners.loader import load_partners
from partner_sync.partners.model import Partner
from postgres.practice_pusher import ORGANIZATION, Pusher
from postgres.product import WEEK, Product, make_product
from postgres_server import Database
from sandbox.running import RunningPartner

FILES = Path(__file__).resolve().parents[2] / "include" / "partners"
#: Short, but not so short that a pause of the test process makes an answer late.
QUICK = {"connect_seconds": 0.5, "read_seconds": 1.0, "settle_after_seconds": 1.5}


@pytest.fixture
def practice() -> Iterator[RunningPartner]:
    with RunningPartner("honoka", patients=5, practitioners=2, offices=2, dirty_share=0) as running:
        yield running


@pytest.fixture
def partner() -> Partner:
    """The file of honoka, with times that a test can wait for."""
    found = load_partners(FILES).partners["honoka"]
    timeouts = found.timeouts.model_copy(update=QUICK)
    return found.model_copy(update={"timeouts": timeouts, "concurrency": 3})


@pytest.fixture
def product(database: Database, practice: RunningPartner) -> Product:
    made = make_product(database, organization=ORGANIZATION)
    admin = database.admin()
    keys = {"office": "O-001", "patient": "P-000001", "practitioner": "S-0001"}
    for entity, key in keys.items():
        lowest = {"office": 1, "patient": 11, "practitioner": 21}[entity]
        admin.execute(
            "update canonical.crosswalk set source_key = %s where entity = %s and canonical_id = %s",
            (key, entity, lowest),
        )
    for number in range(1, 4):
        made.visit(f"v{number}")
    made.week("finalized")
    return made


@pytest.fixture
def pusher(product: Product, practice: RunningPartner, partner: Partner) -> Pusher:
    return Pusher(product, practice, partner)


def test_a_released_week_arrives_and_each_result_names_the_version_sent(pusher: Pusher) -> None:
    pusher.release()
    assert pusher.push().outcomes == {"accepted": 3}
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]
    assert pusher.rows("select visit_id, version, outcome from sync.push_result order by 1") == [
        ("v1", 1, "accepted"), ("v2", 1, "accepted"), ("v3", 1, "accepted"),
    ]  # fmt: skip
    assert pusher.rows("select * from sync.todo") == []


def test_a_second_push_sends_nothing(pusher: Pusher) -> None:
    pusher.release()
    pusher.push()
    assert pusher.push("run-2").outcomes == {}
    assert len([call for call in pusher.practice.received() if call["method"] == "PUT"]) == 3


def test_a_later_change_and_a_cancel_reach_the_partner(pusher: Pusher) -> None:
    pusher.release()
    pusher.push()
    pusher.product.visit("v1", revision=2, note="ring twice")
    pusher.product.visit("v2", revision=2, status="cancelled")
    assert pusher.push("run-2").outcomes == {"accepted": 1, "withdrawn": 1}
    assert sorted(pusher.held()) == ["v1", "v3"]
    assert pusher.held()["v1"]["note"] == "ring twice"


def test_a_lost_answer_is_read_back_and_not_sent_again(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("drop_after", method="PUT", times=1)
    with pytest.raises(SettlingError):
        pusher.push()
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]
    assert len([call for call in pusher.practice.received() if call["method"] == "PUT"]) == 3
    assert pusher.rows("select count(*) from sync.push_result where outcome = 'accepted'") == [(3,)]


def test_a_call_that_was_lost_on_the_way_is_sent_again_under_the_same_key(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("drop_before", method="PUT", times=1)
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]
    keys = [call["idempotency_key"] for call in pusher.practice.received() if call["method"] == "PUT"]
    assert len(keys) == 4
    assert len(set(keys)) == 3


def test_an_answer_that_comes_too_late_is_unknown_and_then_found(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("hang_after", method="PUT", times=1, seconds=1.0)
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]
    assert pusher.rows("select count(*) from sync.push_attempt where state = 'unknown'") == [(0,)]


def test_a_read_back_comes_no_earlier_than_the_settle_time(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("drop_after", method="PUT", times=1)
    pusher.push_until_settled()
    calls = pusher.practice.received()
    lost = next(call for call in calls if call["method"] == "PUT" and call["status"] is None)
    read = next(call for call in calls if call["method"] == "GET")
    assert read["at_monotonic_seconds"] - lost["at_monotonic_seconds"] >= QUICK["settle_after_seconds"] - 0.1


def test_a_wrong_key_stops_the_organization_and_loses_nothing(pusher: Pusher) -> None:
    pusher.release()
    good, pusher.secret = pusher.secret, "wrong"
    with pytest.raises(PartnerAuthError):
        pusher.push()
    assert len(pusher.practice.received()) <= 3
    pusher.secret = good
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]


def test_a_rejected_visit_is_final_until_it_changes(pusher: Pusher) -> None:
    pusher.product.database.admin().execute(
        "update canonical.crosswalk set source_key = 'P-999999' where entity = 'patient' and canonical_id = 12"
    )
    pusher.product.visit("v9", patient_id=12)
    pusher.release()
    assert pusher.push().outcomes == {"accepted": 3, "rejected": 1}
    assert pusher.rows("select fields from sync.push_result where outcome = 'rejected'") == [(["patient_id: unknown"],)]
    assert pusher.push("run-2").outcomes == {}
    pusher.product.visit("v9", revision=2, patient_id=11)
    assert pusher.push("run-3").outcomes == {"accepted": 1}


def test_a_patient_without_a_key_at_the_partner_is_blocked_visibly_and_goes_when_there_is_one(pusher: Pusher) -> None:
    admin = pusher.product.database.admin()
    admin.execute("delete from canonical.crosswalk where entity = 'patient' and canonical_id = 12")
    pusher.product.visit("v9", patient_id=12)
    pusher.release()
    counts = pusher.push()
    assert (counts.outcomes, counts.blocked) == ({"accepted": 3}, 1)
    pusher.product.database.connect("onboarding").execute(
        "insert into canonical.key_map (partner, organization, entity, canonical_id, source_key, joined_by)"
        " values ('honoka', %s, 'patient', 12, 'P-000002', 'person-1')", (ORGANIZATION,)
    )  # fmt: skip
    assert pusher.push("run-2").outcomes == {"accepted": 1}


def test_a_429_pauses_and_the_rest_goes_afterwards(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("rate_storm", method="PUT", times=1, retry_after_seconds=1)
    with pytest.raises((LimitReachedError, SettlingError)) as waiting:
        pusher.push()
    assert waiting.value.retry_at > datetime.now(UTC) - timedelta(seconds=1)
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]


def test_without_a_grant_no_call_leaves(pusher: Pusher) -> None:
    limit = replace_limits(pusher.partner, requests=2, per_seconds=60)
    pusher.partner = limit
    pusher.release()
    with pytest.raises(LimitReachedError) as waiting:
        pusher.push()
    assert waiting.value.retry_at > datetime.now(UTC) + timedelta(seconds=30)
    assert len(pusher.practice.received()) == 2
    assert pusher.rows("select count(*) from sync.push_attempt where state = 'claimed'") == [(0,)]


def test_a_partner_that_is_down_loses_nothing(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.stop()
    with pytest.raises(PartnerUnavailableError):
        pusher.push()
    assert pusher.rows("select count(*) from sync.todo") == [(3,)]


def test_two_pushers_send_every_visit_once(pusher: Pusher) -> None:
    import threading

    for number in range(10, 40):
        pusher.product.visit(f"v{number}")
    pusher.release()
    threads = [threading.Thread(target=pusher.push_until_settled) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pusher.held()) == 33
    assert len([call for call in pusher.practice.received() if call["method"] == "PUT"]) == 33


def test_the_plan_counts_what_would_go_and_masks_the_bodies(pusher: Pusher) -> None:
    release = pusher.product.database.connect("release")
    plan = plan_push(release, partner=pusher.partner, organizations=[ORGANIZATION], week=WEEK)
    assert (plan.visits, plan.calls, plan.blocked) == (3, 3, {})
    calls = sample_calls(release, partner="honoka", visits=plan.organizations[0].sample_visit_ids)
    kind = pusher.open(NoCalls())
    bodies = masked_bodies(kind, calls)
    kind.close()
    assert bodies[0]["patient_id"] == "text(8)"
    assert "P-000001" not in str(bodies)
    assert pusher.practice.received() == []
    assert pusher.rows("select count(*) from sync.push_request") == [(0,)]


def test_a_resend_sends_everything_under_new_keys(pusher: Pusher) -> None:
    pusher.release()
    pusher.push()
    pusher.release(mode="resend", run="run-2")
    assert pusher.push("run-2").outcomes == {"accepted": 3}
    keys = {call["idempotency_key"] for call in pusher.practice.received() if call["method"] == "PUT"}
    assert len(keys) == 6


def test_a_visit_that_is_being_edited_waits_and_uses_up_neither_grants_nor_the_others_time(pusher: Pusher) -> None:
    pusher.release()
    with pusher.product.product.transaction():
        pusher.product.visit("v1", revision=2, note="being edited")
        with pytest.raises(SettlingError):
            pusher.push()
        assert sorted(pusher.held()) == ["v2", "v3"]
        grants = "select calls from sync.rate_ledger union all select calls from sync.rate_open"
        assert pusher.rows(f"select sum(calls)::integer from ({grants}) g") == [(3,)]
    pusher.push_until_settled()
    assert pusher.held()["v1"]["note"] == "being edited"


def test_a_visit_that_cannot_be_read_back_does_not_hold_up_the_others(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("drop_after", method="PUT", times=1)
    with pytest.raises(SettlingError):
        pusher.push()
    pusher.product.visit("v8")
    pusher.practice.fault("status", method="GET", path="/v1/visits/*")
    time.sleep(QUICK["settle_after_seconds"])
    with pytest.raises(SettlingError):
        pusher.push()
    assert "v8" in pusher.held()


def test_a_wrong_address_stops_the_organization_and_uses_up_no_attempt(pusher: Pusher) -> None:
    pusher.release()
    pusher.practice.fault("redirect", method="PUT", times=3)
    with pytest.raises(BadAnswerError):
        pusher.push()
    assert pusher.rows("select distinct outcome, counted from sync.push_result") == [("retry", False)]
    pusher.push_until_settled()
    assert sorted(pusher.held()) == ["v1", "v2", "v3"]


def test_an_item_that_needs_a_second_call_gets_a_grant_for_it_or_waits(pusher: Pusher) -> None:
    partner = replace_limits(pusher.partner, requests=2, per_seconds=60)
    conn = pusher.product.database.connect("push")
    gate = Turnstile(conn, partner, organization=ORGANIZATION, call_class="request")
    (permit,), _ = gate.permits(1, endpoint="GET /v1/visits")
    with gate.passing(permit):
        gate.take("GET /v1/visits")
        gate.take("GET /v1/visits")
        with pytest.raises(LimitReachedError) as waiting:
            gate.take("GET /v1/visits")
    assert waiting.value.retry_at > datetime.now(UTC) + timedelta(seconds=30)
    gate.returned(permit)
    gate.finish()
    gate.end_grants()
    assert pusher.rows("select count(*) from sync.rate_open") == [(0,)]


def test_a_grant_that_is_over_ends_in_the_transaction_of_the_next_one(pusher: Pusher) -> None:
    conn = pusher.product.database.connect("push")
    gate = Turnstile(conn, pusher.partner, organization=ORGANIZATION, call_class="request")
    for _ in range(3):
        (permit,), grant = gate.permits(1, endpoint="GET /v1/visits")
        assert pusher.rows("select grant_id from sync.rate_open") == [(grant.grant_id,)]
        gate.returned(permit)
        gate.finish()
    gate.end_grants()
    assert pusher.rows("select count(*) from sync.rate_open") == [(0,)]
    assert pusher.rows("select sum(calls) from sync.rate_ledger") == [(3,)]


def test_a_lost_answer_that_only_a_person_can_clear_up_is_parked_visibly_until_a_word_on_it(
    pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = pusher.open

    def neither_key_nor_read_back(gate: Gate) -> PartnerKind:
        kind = opened(gate)
        kind.can = replace(kind.can, read_back=False, idempotency_key=False)
        return kind

    monkeypatch.setattr(pusher, "open", neither_key_nor_read_back)
    pusher.release()
    pusher.practice.fault("drop_before", method="PUT", times=1)
    assert pusher.push_until_settled().parked == 1
    assert len(pusher.held()) == 2
    pusher.release(mode="resend", run="run-2")
    assert pusher.push("run-2") == PushCounts(outcomes={"accepted": 2}, parked=1, parked_here=1)
    assert len(pusher.held()) == 2
    conn = pusher.product.database.connect("release")
    (lost,) = parked_visits(conn, partner="honoka", organization=ORGANIZATION)
    names = {"partner": "honoka", "organization": ORGANIZATION, "visit_id": lost.visit_id}
    assert answer_parked(conn, there=False, requested_by="planner-1", run_key="word-1", **names) == "retry"
    assert pusher.push("run-3") == PushCounts(outcomes={"accepted": 1})
    assert len(pusher.held()) == 3


class NoCalls:
    """A gate that no call may reach."""

    def take(self, endpoint: str) -> None:
        raise AssertionError(endpoint)

    def heed(self, **said: object) -> None:
        raise AssertionError(said)

    def told(self, quotas: object) -> None:
        raise AssertionError(quotas)

    def answered(self, *, reached: bool) -> None:
        raise AssertionError(reached)


def replace_limits(partner: Partner, **changes: object) -> Partner:
    return partner.model_copy(update={"limits": tuple(limit.model_copy(update=changes) for limit in partner.limits)})


def test_what_another_pusher_is_sending_at_this_moment_is_waited_for_briefly(pusher: Pusher) -> None:
    pusher.release()
    other = pusher.product.database.connect("push")
    owner = other.execute("select sync.become_owner() as o").fetchone()["o"]
    row = other.execute(
        "select id from sync.claim('honoka', %s, %s, array ['v1'], '{}', 'tick')", (ORGANIZATION, owner)
    ).fetchone()
    other.execute("select sync.mark_sent(array [%s], %s, 40)", (row["id"], owner))
    with pytest.raises(SettlingError) as waiting:
        pusher.push()
    assert waiting.value.retry_at < datetime.now(UTC) + timedelta(seconds=5)
    assert sorted(pusher.held()) == ["v2", "v3"]
