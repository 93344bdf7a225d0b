"""What happens between two steps of a push loses no answer, books nothing twice and stops nobody (rules 2-4 and 6)."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import psycopg
import pytest

from partner_sync.database import Connection
from partner_sync.delivery.claims import Claims, Scope
from partner_sync.delivery.verdict import Verdict
from postgres.hand_pusher import release, released_week
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database

SCOPE = Scope(partner=PARTNER, organization="sakura", needs=())
CLAIM = "select id from sync.claim(%s, 'sakura', %s, %s, '{}', 'run')"


@pytest.fixture
def product(database: Database) -> Product:
    """Three visits in a released week."""
    return released_week(database, "v1", "v2", "v3")


class Pusher:
    """The functions that a push calls, one by one."""

    def __init__(self, product: Product) -> None:
        self.conn: Connection = product.database.connect("push")
        self.owner = one(self.conn, "select sync.become_owner() as value")

    def claim(self, *visits: str) -> list[int]:
        return [row["id"] for row in self.conn.execute(CLAIM, (PARTNER, self.owner, list(visits)))]

    def send(self, *visits: str) -> list[int]:
        attempts = self.claim(*visits)
        self.conn.execute("select sync.mark_sent(%s, %s, 90)", (attempts, self.owner))
        return attempts

    def settle(self, *attempts: int, outcome: str = "accepted") -> None:
        for each in attempts:
            item = f'{{"attempt": {each}, "outcome": "{outcome}", "partner_ref": "R-{each}"}}'
            self.conn.execute("select sync.settle(%s, %s, 'run', 8)", (item, self.owner))


def one(conn: Connection, query: str) -> object:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row["value"]


def todo(product: Product, visit_id: str) -> list[tuple[object, ...]]:
    rows = product.database.admin().execute(
        "select action, office_id, version from sync.todo where visit_id = %s order by 1, 2", (visit_id,)
    )
    return [tuple(row.values()) for row in rows]


def test_a_visit_that_moves_to_another_office_and_is_cancelled_there_is_taken_back_once(product: Product) -> None:
    product.week("finalized", office=2)
    release(product, run="run-2")
    pusher = Pusher(product)
    pusher.settle(*pusher.send("v1"))
    product.visit("v1", revision=2, office_id=2, status="cancelled")
    assert todo(product, "v1") == [("withdraw", 1, 2)]
    pusher.settle(*pusher.send("v1"), outcome="withdrawn")
    assert todo(product, "v1") == []


def test_the_answer_for_a_version_that_was_edited_meanwhile_is_kept_whoever_asks_to_claim_it(product: Product) -> None:
    first, second = Pusher(product), Pusher(product)
    attempts = first.send("v1")
    product.visit("v1", revision=2, note="second")
    assert second.claim("v1") == []
    first.settle(*attempts)
    admin = product.database.admin()
    assert one(admin, "select partner_ref as value from sync.held where visit_id = 'v1'") == f"R-{attempts[0]}"
    assert todo(product, "v1") == [("put", 1, 2)]


def test_a_product_that_edits_in_any_order_and_a_pusher_that_settles_do_not_wait_in_a_circle(product: Product) -> None:
    claims = Claims(product.database.connect("push"), SCOPE, run_key="run")
    sent = claims.claim_to_send(["v1", "v2"], settle_after_seconds=90)
    answers = {each.attempt_id: Verdict(outcome="accepted", code="accepted") for each in sent}
    with product.product.transaction():
        product.visit("v2", revision=2, note="edited")
        settling = threading.Thread(target=claims.settle, args=(answers,), kwargs={"max_attempts": 8})
        settling.start()
        time.sleep(0.3)
        product.visit("v1", revision=2, note="edited")
    settling.join()
    admin = product.database.admin()
    assert one(admin, "select count(*) as value from sync.push_result where outcome = 'accepted'") == 2


def test_a_late_copy_of_an_older_document_brings_no_deleted_visit_back(product: Product) -> None:
    product.apply(deleted=[{"visit_id": "v1", "revision": 5}])
    product.visit("v1", revision=4, note="late")
    assert one(product.database.admin(), "select count(*) as value from schedule.visit where visit_id = 'v1'") == 0
    product.visit("v1", revision=6, note="anew")
    assert todo(product, "v1") == [("put", 1, 3)]


def test_an_id_that_another_organization_had_is_refused(product: Product) -> None:
    make_product(product.database, organization="ume", base=100)
    product.apply(deleted=[{"visit_id": "v1", "revision": 2}])
    with pytest.raises(psycopg.errors.CheckViolation):
        product.visit("v1", revision=3, organization="ume", office_id=101, patient_id=111, practitioner_id=121)


def test_an_answer_that_comes_while_a_week_is_being_closed_again_still_takes_the_visit_back(product: Product) -> None:
    """In flight, the week was reopened and the visit moved away: neither transaction may miss the other's row."""
    pusher = Pusher(product)
    attempts = pusher.send("v1")
    product.week("reopened")
    product.visit("v1", revision=2, day=WEEK.monday + timedelta(days=7))
    with product.product.transaction():
        product.week("finalized")
        settling = threading.Thread(target=pusher.settle, args=attempts)
        settling.start()
        time.sleep(0.3)
    settling.join()
    assert todo(product, "v1") == [("withdraw", 1, 2)]
