"""What leaves the product becomes items: capture, release, reopening, moves (design, 4 and rules 5 and 6)."""

from __future__ import annotations

import psycopg
import pytest

from partner_sync.errors import NothingFinalizedError
from postgres.hand_pusher import HandPusher, release, todo
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database

NEXT_WEEK = WEEK.next()


@pytest.fixture
def product(database: Database) -> Product:
    return make_product(database)


def accept(product: Product, visit_id: str) -> None:
    """The partner accepts what is pending for a visit, through the functions that push uses."""
    HandPusher(product).push(visit_id)


def test_a_visit_is_an_item_only_when_its_week_is_finalized_and_released(product: Product) -> None:
    product.visit("v1")
    assert todo(product) == []
    product.week("finalized")
    assert todo(product) == []
    release(product)
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 1)]


def test_a_week_that_no_office_has_finalized_is_refused(product: Product) -> None:
    product.visit("v1")
    with pytest.raises(NothingFinalizedError):
        release(product)


def test_a_change_of_a_released_week_replaces_the_waiting_item(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    product.visit("v1", revision=2, note="later")
    assert todo(product) == [("v1", "2026-11-23", "put", 2, 1)]


def test_a_change_without_content_is_no_version(product: Product) -> None:
    product.visit("v1")
    product.visit("v1", revision=2)
    count = product.database.admin().execute("select count(*) as n from sync.change_history").fetchone()
    assert count["n"] == 1


def test_an_older_revision_changes_nothing(product: Product) -> None:
    product.visit("v1", revision=5, note="now")
    product.visit("v1", revision=4, note="before")
    row = product.database.admin().execute("select note from schedule.visit").fetchone()
    assert row["note"] == "now"


def test_reopening_holds_the_changes_and_withdraws_nothing(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    accept(product, "v1")
    product.week("reopened")
    product.visit("v1", revision=2, note="changed while open")
    assert todo(product) == []
    product.week("finalized")
    assert todo(product) == [("v1", "2026-11-23", "put", 2, 1)]


def test_a_move_out_of_a_released_week_withdraws_at_once_and_puts_when_the_new_week_is_released(
    product: Product,
) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    accept(product, "v1")
    product.visit("v1", day=NEXT_WEEK.monday, revision=2)
    assert todo(product) == [("v1", "2026-11-23", "withdraw", 2, 1)]
    product.week("finalized", week=NEXT_WEEK)
    release(product, NEXT_WEEK, run="run-2")
    assert todo(product) == [("v1", "2026-11-23", "withdraw", 2, 1), ("v1", "2026-11-30", "put", 2, 1)]


def test_a_move_while_the_put_is_under_way_is_withdrawn_when_its_answer_comes(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    pusher = HandPusher(product)
    sent = pusher.send("v1")
    product.visit("v1", day=NEXT_WEEK.monday, revision=2)
    assert todo(product) == []
    pusher.settle(sent)
    assert todo(product) == [("v1", "2026-11-23", "withdraw", 2, 1)]


def test_an_edit_while_it_is_sent_stays_pending(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    pusher = HandPusher(product)
    sent = pusher.send("v1")
    product.visit("v1", revision=2, note="edited")
    assert pusher.send("v1") == {}
    pusher.settle(sent)
    assert todo(product) == [("v1", "2026-11-23", "put", 2, 1)]


def test_created_and_cancelled_before_it_was_sent_needs_no_call(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    product.visit("v1", revision=2, status="cancelled")
    push = product.database.connect("push")
    closed = push.execute("select sync.close_without_call(%s, 'sakura', 'run') as n", (PARTNER,)).fetchone()
    assert closed["n"] == 1
    assert todo(product) == []


def test_a_deleted_visit_counts_as_a_cancel(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    accept(product, "v1")
    product.product.execute("delete from schedule.visit where visit_id = 'v1'")
    assert todo(product) == [("v1", "2026-11-23", "withdraw", 2, 1)]


def test_truncating_the_visits_is_refused(product: Product) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        product.database.admin().execute("truncate schedule.visit")


def test_a_resend_is_a_new_generation_of_everything(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    accept(product, "v1")
    assert todo(product) == []
    release(product, mode="resend", run="run-2")
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 2)]


def test_a_retry_of_the_releasing_task_starts_no_second_generation(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product, mode="resend", run="run-1")
    release(product, mode="resend", run="run-1")
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 1)]


def test_a_link_that_releases_on_finalize_needs_no_planner(database: Database) -> None:
    product = make_product(database, mode="on_finalize")
    product.visit("v1")
    product.week("finalized")
    assert todo(product) == [("v1", "2026-11-23", "put", 1, 1)]


def test_older_versions_that_were_never_sent_end_as_superseded(product: Product) -> None:
    product.visit("v1")
    product.week("finalized")
    release(product)
    product.visit("v1", revision=2, note="second")
    accept(product, "v1")
    rows = product.database.admin().execute("select version, outcome from sync.push_result order by version").fetchall()
    assert [tuple(row.values()) for row in rows] == [(1, "superseded"), (2, "accepted")]


def test_what_a_dead_pusher_had_not_sent_is_given_up_and_what_it_sent_is_unknown(product: Product) -> None:
    product.visit("v1")
    product.visit("v2")
    product.week("finalized")
    release(product)
    dead = product.database.connect("push")
    owner = dead.execute("select sync.become_owner() as o").fetchone()["o"]
    rows = dead.execute(
        "select id, visit_id from sync.claim(%s, 'sakura', %s, %s, '{}', 'run')", (PARTNER, owner, ["v1", "v2"])
    )
    ids = {row["visit_id"]: row["id"] for row in rows}
    dead.execute("select sync.mark_sent(%s, %s, 0)", ([ids["v1"]], owner))
    dead.close()
    heir = product.database.connect("push")
    heir_owner = heir.execute("select sync.become_owner() as o").fetchone()["o"]
    for _ in range(50):
        recovered = heir.execute("select sync.recover(%s, %s, 'run') as n", (PARTNER, heir_owner)).fetchone()["n"]
        if recovered:
            break
    rows = heir.execute("select visit_id, state from sync.push_attempt order by visit_id").fetchall()
    assert [tuple(row.values()) for row in rows] == [("v1", "unknown"), ("v2", "given_up")]
    taken = heir.execute("select visit_id from sync.take_unknown(%s, 'sakura', %s, 9, 90)", (PARTNER, heir_owner))
    assert [row["visit_id"] for row in taken] == ["v1"]
