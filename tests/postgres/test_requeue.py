"""What was rejected or given up goes out again when a person asks, and only that; new work wakes a listener."""

from __future__ import annotations

import pytest

from postgres.hand_pusher import HandPusher, release, released_week, todo
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database


@pytest.fixture
def product(database: Database) -> Product:
    """Two visits in a released week."""
    return released_week(database, "v1", "v2")


def requeue(product: Product, *visits: str, run: str = "again-1", organization: str = "sakura") -> int:
    row = (
        product.database.connect("release")
        .execute(
            "select sync.requeue_visits(%s, %s, %s, %s, 'mended', 'planner-1', %s) as requeued",
            (PARTNER, organization, WEEK.monday, list(visits), run),
        )
        .fetchone()
    )
    return row["requeued"]


def failed(product: Product) -> list[tuple[str, str, str]]:
    rows = product.database.connect("release").execute(
        "select visit_id, action, code from sync.failed_visits(%s, 'sakura', %s)", (PARTNER, WEEK.monday)
    )
    return [tuple(row.values()) for row in rows]


def test_a_rejected_visit_goes_out_again_and_others_do_not(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", outcome="rejected")
    pusher.push("v2")
    assert requeue(product, "v1") == 1
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 2)]
    pusher.push("v1")
    assert todo(product) == []


def test_a_second_try_of_the_same_run_requeues_nothing_more(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", outcome="rejected")
    assert (requeue(product, "v1"), requeue(product, "v1")) == (1, 1)
    assert ("v1", "2026-11-23", "put", 1, 2) in todo(product)
    pusher.push("v1", outcome="rejected")
    requeue(product, "v1")
    assert [row[0] for row in todo(product)] == ["v2"]
    requeue(product, "v1", run="again-2")
    assert ("v1", "2026-11-23", "put", 1, 3) in todo(product)


def test_a_dead_letter_gets_all_its_attempts_anew(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", outcome="retry", max_attempts=1)
    assert failed(product) == [("v1", "put", "retry")]
    requeue(product, "v1")
    pusher.push("v1", outcome="retry", max_attempts=2)
    assert ("v1", "2026-11-23", "put", 1, 2) in todo(product)


def test_what_the_partner_holds_in_this_version_is_sent_again_when_asked_for(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", "v2")
    assert requeue(product, "v1") == 1
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 2)]


def test_a_requeued_visit_waits_while_its_week_is_reopened(product: Product) -> None:
    HandPusher(product).push("v1", "v2")
    requeue(product, "v1")
    product.week("reopened")
    assert todo(product) == []
    product.week("finalized")
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 2)]


def test_a_week_that_is_not_closed_or_not_released_requeues_nothing(product: Product) -> None:
    HandPusher(product).push("v1", "v2", outcome="rejected")
    product.week("reopened")
    assert requeue(product, "v1") == 0
    product.week("finalized")
    product.visit("v3", day=WEEK.next().monday)
    assert requeue(product, "v3") == 0
    assert todo(product) == []


def test_a_visit_of_another_organization_is_not_touched(product: Product) -> None:
    make_product(product.database, organization="ume", base=100)
    HandPusher(product).push("v1", "v2", outcome="rejected")
    assert requeue(product, "v1", organization="ume") == 0
    assert todo(product) == []


def test_a_withdraw_that_the_partner_refused_is_asked_for_again(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", "v2")
    product.visit("v1", day=WEEK.next().monday, revision=2)
    pusher.push("v1", outcome="rejected")
    assert failed(product) == [("v1", "withdraw", "rejected")]
    requeue(product, "v1")
    assert todo(product) == [("v1", "2026-11-23", "withdraw", 2, 2)]


def test_a_resend_after_a_requeue_is_a_generation_of_its_own(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", "v2")
    requeue(product, "v1")
    pusher.push("v1")
    release(product, mode="resend", run="run-2")
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 3), ("v2", "2026-11-23", "put", 1, 2)]


def test_failed_visits_are_those_whose_present_version_failed(product: Product) -> None:
    pusher = HandPusher(product)
    pusher.push("v1", "v2", outcome="rejected")
    product.visit("v2", revision=2, note="mended")
    assert failed(product) == [("v1", "put", "rejected")]
    requeue(product, "v1")
    assert failed(product) == []


def test_new_work_wakes_a_listener_with_the_partners_name_once_a_transaction(product: Product) -> None:
    listener = product.database.admin()
    listener.execute("listen partner_sync_todo")
    with product.product.transaction():
        product.visit("v1", revision=2, note="changed")
        product.visit("v2", revision=2, note="changed")
    assert [notice.payload for notice in listener.notifies(timeout=1, stop_after=2)] == [PARTNER]


def test_what_adds_no_work_wakes_nobody(product: Product) -> None:
    listener = product.database.admin()
    listener.execute("listen partner_sync_todo")
    HandPusher(product).push("v1", "v2")
    product.visit("v1", revision=2)
    product.visit("v3", day=WEEK.next().monday)
    product.week("reopened")
    product.visit("v1", revision=3, note="held back")
    assert list(listener.notifies(timeout=0.3)) == []
