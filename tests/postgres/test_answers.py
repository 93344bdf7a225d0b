"""People answer for visits whose answer was lost; what does not wait for them is refused and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from partner_sync.delivery.answers import NAMED_CHARACTERS, Word, answer_visits, parked_lines
from partner_sync.errors import FormError, NotParkedError
from postgres.desk import Desk
from postgres.product import make_product
from postgres.visit_keeper import partner_of
from postgres_server import Database
from scripted_server import Came, Reply


def without_any_way_to_ask() -> object:
    """A partner without idempotency keys, read-back or list."""
    found = partner_of("keyed")
    assert found.push
    return found.model_copy(update={"push": found.push.model_copy(update={"read_back": None, "visits_list": None})})


@pytest.fixture
def desk(database: Database) -> Iterator[Desk]:
    """Three of four visits got no answer: v1 is there, v2 and v3 are not."""
    desk = Desk(make_product(database), "keyed")
    desk.partner = without_any_way_to_ask()  # type: ignore[assignment]

    def answer(came: Came) -> Reply:
        if came.path.endswith("v1"):
            desk.keeper.answer(came)
        return desk.keeper.answer(came) if came.path.endswith("v4") else Reply(drop=True)

    with desk.server:
        desk.server.answer = answer
        desk.product.closed_week("v1", "v2", "v3", "v4")
        desk.release()
        assert desk.push().parked == 3
        desk.server.answer = desk.keeper.answer
        yield desk


def say(desk: Desk, *visits: str, there: bool, run: str = "a1") -> dict[str, int]:
    word = Word(
        partner="honoka", organization="sakura", visits=visits, there=there, requested_by="planner-1", run_key=run
    )
    return {str(k): n for k, n in answer_visits(desk.product.database.connect("release"), word).items()}


def test_what_is_there_is_accepted_and_what_is_not_goes_again(desk: Desk) -> None:
    assert say(desk, "v1", there=True) == {"accepted": 1}
    assert say(desk, "v2", "v3", there=False, run="a2") == {"retry": 2}
    assert desk.push("p2").outcomes == {"accepted": 2}
    assert sorted(desk.keeper.records) == ["v1", "v2", "v3", "v4"]
    assert len([came for came in desk.server.came if came.path.endswith("v1")]) == 1


def test_visits_that_do_not_wait_are_named_and_nothing_is_changed(desk: Desk) -> None:
    with pytest.raises(NotParkedError, match="v4, v77"):
        say(desk, "v1", "v4", "v77", there=True)
    assert desk.rows("select count(*) from sync.parked") == [(3,)]


def test_visits_of_another_organization_are_refused(desk: Desk) -> None:
    make_product(desk.product.database, organization="momiji", base=100)
    word = Word(
        partner="honoka", organization="momiji", visits=("v1",), there=True, requested_by="planner-1", run_key="a1"
    )
    with pytest.raises(NotParkedError, match="momiji"):
        answer_visits(desk.product.database.connect("release"), word)


def test_a_line_that_is_no_visit_id_is_refused_without_being_repeated(desk: Desk) -> None:
    with pytest.raises(FormError) as refused:
        say(desk, "v1", "山田 花子", there=True)
    assert "山田" not in str(refused.value)
    assert desk.rows("select count(*) from sync.parked") == [(3,)]


def test_an_organization_that_is_no_code_is_refused_without_being_repeated(desk: Desk) -> None:
    word = Word(
        partner="honoka", organization="山田 花子", visits=("v1",), there=True, requested_by="planner-1", run_key="a1"
    )
    with pytest.raises(FormError) as refused:
        answer_visits(desk.product.database.connect("release"), word)
    assert "山田" not in str(refused.value)


def test_no_visit_at_all_is_refused(desk: Desk) -> None:
    with pytest.raises(FormError, match="No visit was named"):
        say(desk, there=True)


def test_a_task_that_is_run_again_says_the_same_and_changes_nothing(desk: Desk) -> None:
    assert say(desk, "v2", "v3", there=False) == {"retry": 2}
    assert say(desk, "v2", "v3", there=False) == {"retry": 2}
    assert desk.rows("select count(*) from sync.parked_answer") == [(2,)]


def test_a_note_names_who_waits_and_stays_short(desk: Desk) -> None:
    conn = desk.product.database.connect("run")
    [line] = parked_lines(conn, partner="honoka", organizations=["sakura", "momiji"])
    assert line.endswith("(honoka, DAG answer_lost): sakura v1, sakura v2, sakura v3")
    desk.product.database.admin().execute(
        "insert into sync.push_attempt (partner, organization, office_id, visit_id, version, week, action, generation,"
        " idempotency_key, owner, state, sent_at, settle_at) select 'honoka', 'sakura', 1, repeat('x', 40) || n, 1,"
        " '2026-11-23', 'put', 1, gen_random_uuid(), 1, 'unknown', now(), 'infinity' from generate_series(1, 30) n"
    )
    [line] = parked_lines(conn, partner="honoka", organizations=["sakura"])
    assert len(line) < NAMED_CHARACTERS + 100
    assert line.endswith("(+26)")


def test_nobody_waits_nothing_is_said(desk: Desk) -> None:
    assert list(parked_lines(desk.product.database.connect("run"), partner="honoka", organizations=["momiji"])) == []
