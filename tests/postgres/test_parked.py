"""A person's word on a visit whose answer was lost for good: accepted, sent again or taken away, and said once."""

from __future__ import annotations

import pytest

from partner_sync.database import Connection
from partner_sync.delivery.claims import Claims, Scope
from partner_sync.delivery.parked import answer_parked, parked_visits
from partner_sync.delivery.verdict import PERSON_DECIDES, Verdict
from postgres.hand_pusher import released_week
from postgres.product import PARTNER, Product
from postgres_server import Database

ORGANIZATION = "sakura"
SCOPE = Scope(partner=PARTNER, organization=ORGANIZATION, needs=())
ACCEPTED = Verdict(outcome="accepted", code="accepted", partner_ref="R-1")


@pytest.fixture
def product(database: Database) -> Product:
    """One visit in a released week."""
    return released_week(database, "v1")


@pytest.fixture
def release(product: Product) -> Connection:
    return product.database.connect("release")


def send(product: Product, verdict: Verdict) -> None:
    """The item of the visit is sent and comes back with this."""
    conn = product.database.connect("push")
    claims = Claims(conn, SCOPE, run_key="run")
    sent = claims.claim_to_send(["v1"], settle_after_seconds=90)
    assert len(sent) == 1
    claims.settle({sent[0].attempt_id: verdict}, max_attempts=1)
    conn.close()


def say(release: Connection, *, there: bool, run: str = "form-1", organization: str = ORGANIZATION) -> str | None:
    return answer_parked(
        release, partner=PARTNER, organization=organization, visit_id="v1", there=there, requested_by="planner-1",
        run_key=run,
    )  # fmt: skip


def last(product: Product) -> tuple[object, ...]:
    row = (
        product.database.admin()
        .execute("select outcome, code, present from sync.push_result order by id desc limit 1")
        .fetchone()
    )
    return tuple(row.values())


def todo(product: Product) -> list[tuple[object, ...]]:
    rows = product.database.admin().execute("select action, version, due_at <= clock_timestamp() from sync.todo")
    return [tuple(row.values()) for row in rows]


def parked(release: Connection) -> list[str]:
    return [each.visit_id for each in parked_visits(release, partner=PARTNER, organization=ORGANIZATION)]


def test_a_visit_that_is_there_is_accepted(product: Product, release: Connection) -> None:
    send(product, PERSON_DECIDES)
    assert parked(release) == ["v1"]
    assert say(release, there=True) == "accepted"
    assert last(product) == ("accepted", "person_says_there", True)
    assert (todo(product), parked(release)) == ([], [])


def test_a_visit_that_is_not_there_goes_again_at_once_also_on_its_last_attempt(
    product: Product, release: Connection
) -> None:
    send(product, PERSON_DECIDES)
    assert say(release, there=False) == "retry"
    assert last(product) == ("retry", "person_says_absent", None)
    assert todo(product) == [("put", 1, True)]
    send(product, ACCEPTED)
    assert todo(product) == []


@pytest.mark.parametrize(("there", "outcome"), [(True, "retry"), (False, "withdrawn")])
def test_a_lost_withdraw_goes_again_when_the_partner_still_holds_the_visit(
    product: Product, release: Connection, *, there: bool, outcome: str
) -> None:
    send(product, ACCEPTED)
    product.visit("v1", revision=2, status="cancelled")
    send(product, PERSON_DECIDES)
    assert say(release, there=there) == outcome
    assert todo(product) == ([("withdraw", 2, True)] if there else [])


def test_a_change_that_is_not_there_leaves_known_what_was_held_before(product: Product, release: Connection) -> None:
    send(product, ACCEPTED)
    product.visit("v1", revision=2, note="changed")
    send(product, PERSON_DECIDES)
    say(release, there=False)
    held = product.database.admin().execute("select version, partner_ref from sync.held").fetchall()
    assert [tuple(row.values()) for row in held] == [(1, "R-1")]


def test_what_changed_meanwhile_goes_out_after_the_persons_word(product: Product, release: Connection) -> None:
    send(product, PERSON_DECIDES)
    product.visit("v1", revision=2, note="changed")
    assert say(release, there=True) == "accepted"
    assert todo(product) == [("put", 2, True)]


def test_a_retry_of_the_form_says_the_same_and_changes_nothing(product: Product, release: Connection) -> None:
    send(product, PERSON_DECIDES)
    assert say(release, there=False) == "retry"
    send(product, PERSON_DECIDES)
    assert say(release, there=False) == "retry"
    assert parked(release) == ["v1"], "the second lost answer waits for a word of its own"
    assert say(release, there=True, run="form-2") == "accepted"


def test_nothing_is_said_about_a_visit_that_is_not_parked_or_is_another_organizations(
    product: Product, release: Connection
) -> None:
    assert say(release, there=True) is None
    send(product, PERSON_DECIDES)
    assert say(release, there=True, organization="ume") is None
    assert parked(release) == ["v1"]
