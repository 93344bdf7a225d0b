"""The product's door for other databases: documents come late, twice and in any order (design, 4)."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postgres.product import WEEK, Product, make_product
from postgres.test_bulk_writes import row
from postgres_server import Database


@pytest.fixture
def product(database: Database) -> Product:
    return make_product(database)


def visits(product: Product) -> list[str]:
    found = product.database.admin().execute("select visit_id from schedule.visit order by 1")
    return [each["visit_id"] for each in found]


def gone(number: int, revision: int) -> dict[str, object]:
    return {"visit_id": f"v-{number:04}", "revision": revision}


def state(number_of_state: str, revision: int | None = None) -> dict[str, object]:
    found = {"office_id": 1, "week": str(WEEK.monday), "organization": "sakura", "state": number_of_state}
    return found | {"changed_by": "planner-1"} | ({} if revision is None else {"revision": revision})


def is_finalized(product: Product) -> bool:
    return bool(product.database.admin().execute("select from schedule.week_finalized").fetchall())


def test_a_deletion_that_comes_before_its_visit_keeps_the_visit_away(product: Product) -> None:
    product.apply(deleted=[gone(1, 5)])
    product.apply(visits=[row(1, revision=4)])
    assert visits(product) == []
    product.apply(visits=[row(1, revision=6)])
    assert visits(product) == ["v-0001"]


def test_a_deletion_and_a_late_visit_at_the_same_moment_end_without_the_visit(product: Product) -> None:
    late = product.database.connect("product")
    writing = threading.Thread(target=Product(product.database, late).apply, kwargs={"visits": [row(1, revision=4)]})
    with product.product.transaction():
        product.apply(deleted=[gone(1, 5)])
        writing.start()
        time.sleep(0.2)
    writing.join()
    assert visits(product) == []


def test_a_document_that_names_a_visit_twice_counts_by_its_newest_word(product: Product) -> None:
    product.apply(visits=[row(1, revision=2, note="new"), row(1, revision=1, note="old"), row(2)], deleted=[gone(2, 2)])
    found = product.database.admin().execute("select visit_id, note from schedule.visit").fetchall()
    assert found == [{"visit_id": "v-0001", "note": "new"}]


def test_a_deletion_with_the_revision_of_the_visit_counts_and_an_older_one_does_not(product: Product) -> None:
    product.apply(visits=[row(1, revision=3), row(2, revision=3)])
    product.apply(deleted=[gone(1, 3), gone(2, 2)])
    assert visits(product) == ["v-0002"]


def test_a_late_copy_does_not_close_a_week_that_was_reopened(product: Product) -> None:
    product.apply(weeks=[state("finalized", 1)])
    product.apply(weeks=[state("reopened", 2)])
    product.apply(weeks=[state("finalized", 1)])
    assert not is_finalized(product)
    product.apply(weeks=[state("finalized", 3)])
    assert is_finalized(product)


def test_a_newer_word_that_says_the_same_still_makes_older_ones_late(product: Product) -> None:
    product.apply(weeks=[state("finalized", 1)])
    product.apply(weeks=[state("finalized", 5)])
    product.apply(weeks=[state("reopened", 4)])
    assert is_finalized(product)


def test_of_two_words_on_a_week_in_one_document_the_newer_counts(product: Product) -> None:
    product.apply(weeks=[state("reopened", 8), state("finalized", 7)])
    assert not is_finalized(product)
    product.apply(weeks=[state("reopened"), state("finalized")])
    assert is_finalized(product)


def test_a_late_copy_at_the_same_moment_as_the_reopening_does_not_close_the_week(product: Product) -> None:
    product.apply(weeks=[state("finalized", 1)])
    late = Product(product.database, product.database.connect("product"))
    closing = threading.Thread(target=late.apply, kwargs={"weeks": [state("finalized", 2)]})
    with product.product.transaction():
        product.apply(weeks=[state("reopened", 3)])
        closing.start()
        time.sleep(0.2)
    closing.join()
    assert not is_finalized(product)


WORDS = st.lists(
    st.tuples(st.sampled_from(["visit", "deleted", "finalized", "reopened"]), st.integers(1, 6)), min_size=1, max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS, order=st.randoms())
def test_documents_in_any_order_end_in_the_newest_state(
    product: Product, words: list[tuple[str, int]], order: object
) -> None:
    admin = product.database.admin()
    admin.execute(
        "set session_replication_role = replica; delete from schedule.visit; delete from schedule.week_state;"
        "delete from schedule.applied_revision; delete from sync.visit_head; delete from sync.change_history;"
        "delete from sync.todo; set session_replication_role = origin"
    )
    # A revision says one thing: the product's counter of a visit, or of a week.
    said = {(what in ("visit", "deleted"), revision): what for what, revision in words}
    shuffled = [(what, revision) for (_, revision), what in said.items()]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for what, revision in shuffled + shuffled[:2]:
        if what == "visit":
            product.apply(visits=[row(1, revision=revision, note=str(revision))])
        elif what == "deleted":
            product.apply(deleted=[gone(1, revision)])
        else:
            product.apply(weeks=[state(what, revision)])
    newest = {of_visit: said[of_visit, max(r for v, r in said if v == of_visit)] for of_visit, _ in said}
    assert bool(visits(product)) == (newest.get(True) == "visit")
    assert is_finalized(product) == (newest.get(False) == "finalized")
