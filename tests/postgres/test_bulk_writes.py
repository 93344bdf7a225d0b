"""Bulk writes of the product are captured like single ones: by statement, in any mixture, nothing lost or doubled."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from partner_sync.database import Connection
from postgres.hand_pusher import HandPusher, release, todo
from postgres.product import WEEK, Product, make_product
from postgres_server import Database

NOTE = "update schedule.visit set revision = revision + 1, note = 'edited' where visit_id = any (%s)"


@pytest.fixture
def product(database: Database) -> Product:
    return make_product(database)


def row(number: int, *, revision: int = 1, **changes: object) -> dict[str, object]:
    """A visit in the tests' week."""
    times = {"start_at": "2026-11-24T01:00:00Z", "end_at": "2026-11-24T02:00:00Z"}
    people = {"office_id": 1, "patient_id": 11, "practitioner_id": 21, "organization": "sakura"}
    return {"visit_id": f"v-{number:04}", "revision": revision, **times, **people, **changes}


def versions(product: Product, visit_id: str) -> list[tuple[int, int, bool]]:
    rows = product.database.admin().execute(
        "select version, revision, cancelled from sync.change_history where visit_id = %s order by version", (visit_id,)
    )
    return [tuple(each.values()) for each in rows]


def count(conn: Connection, query: str) -> int:
    return int(conn.execute(f"select count(*) as n from {query}").fetchone()["n"])  # type: ignore[index]


def test_a_document_of_a_thousand_visits_is_one_version_each_and_comes_twice_without_effect(product: Product) -> None:
    product.week("finalized")
    release(product)
    document = [row(number) for number in range(1000)]
    for _ in range(2):
        product.apply(visits=document)
    admin = product.database.admin()
    assert (count(admin, "sync.change_history"), count(admin, "sync.todo")) == (1000, 1000)
    product.apply(visits=[row(number, revision=2, note="later") for number in range(0, 1000, 2)])
    assert count(admin, "sync.change_history where version = 2 and visit ->> 'note' = 'later'") == 500
    assert count(admin, "sync.todo where version = 2") == 500


def test_an_upsert_of_new_known_and_unchanged_visits_makes_versions_of_the_first_two(product: Product) -> None:
    product.apply(visits=[row(1), row(2)])
    product.apply(visits=[row(1, revision=2, note="changed"), row(2, revision=2), row(3)])
    assert [len(versions(product, f"v-{n:04}")) for n in (1, 2, 3)] == [2, 1, 1]


def test_a_merge_that_inserts_updates_and_deletes_captures_all_three(product: Product) -> None:
    product.apply(visits=[row(1), row(2)])
    product.product.execute(
        "merge into schedule.visit v using (values ('v-0001', 'update'), ('v-0002', 'delete'), ('v-0003', 'insert'))"
        " w (visit_id, what) on v.visit_id = w.visit_id"
        " when matched and w.what = 'delete' then delete"
        " when matched then update set revision = v.revision + 1, note = 'merged'"
        " when not matched then insert (visit_id, revision, organization, office_id, patient_id, start_at, end_at)"
        "  values (w.visit_id, 1, 'sakura', 1, 11, '2026-11-24T01:00Z', '2026-11-24T02:00Z')"
    )
    assert versions(product, "v-0001") == [(1, 1, False), (2, 2, False)]
    assert versions(product, "v-0002") == [(1, 1, False), (2, 1, True)]
    assert versions(product, "v-0003") == [(1, 1, False)]


def test_a_visit_that_a_statement_deletes_and_writes_anew_stands_as_it_was_written_last(product: Product) -> None:
    product.apply(visits=[row(1)])
    product.product.execute(
        "with gone as (delete from schedule.visit returning *)"
        " insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, start_at, end_at, note)"
        " select visit_id, revision + 1, organization, office_id, patient_id, start_at, end_at, 'anew' from gone"
    )
    head = product.database.admin().execute("select cancelled from sync.visit_head").fetchone()
    assert head == {"cancelled": False}
    assert versions(product, "v-0001")[-1][1:] == (2, False)


def test_a_trigger_of_the_product_that_writes_the_visit_again_has_the_last_word(product: Product) -> None:
    admin = product.database.admin()
    admin.execute(
        "create function schedule.polish() returns trigger language plpgsql as $$ begin"
        " update schedule.visit set note = 'polished' where visit_id = new.visit_id and note = 'raw';"
        " return null; end $$;"
        "create trigger polish after insert or update on schedule.visit for each row execute function schedule.polish()"
    )
    product.apply(visits=[row(1, note="raw"), row(2, note="raw")])
    last = (
        "select c.visit ->> 'note' as note from sync.change_history c"
        " join sync.visit_head h on h.visit_id = c.visit_id and h.version = c.version"
    )
    assert [each["note"] for each in admin.execute(last)] == ["polished", "polished"]


def test_a_trigger_of_the_product_that_writes_a_deleted_visit_anew_keeps_it(product: Product) -> None:
    product.database.admin().execute(
        "create function schedule.keep() returns trigger language plpgsql as $$ begin"
        " insert into schedule.visit values (old.*); return null; end $$;"
        "create trigger keep after delete on schedule.visit for each row execute function schedule.keep()"
    )
    product.apply(visits=[row(1)])
    product.product.execute("delete from schedule.visit")
    assert versions(product, "v-0001") == [(1, 1, False)]


def test_a_statement_that_touches_no_visit_captures_nothing(product: Product) -> None:
    product.product.execute("delete from schedule.visit where visit_id = 'nobody'")
    assert count(product.database.admin(), "sync.change_history") == 0


def test_a_visit_keeps_its_id_and_its_organization(product: Product) -> None:
    make_product(product.database, organization="ume", base=100)
    product.apply(visits=[row(1)])
    for change in ("visit_id = 'other'", "organization = 'ume', office_id = 101, patient_id = 111"):
        with pytest.raises(psycopg.errors.CheckViolation):
            product.product.execute(f"update schedule.visit set {change}")


def test_a_bulk_write_at_a_stricter_isolation_level_is_refused_and_not_half_seen(product: Product) -> None:
    product.product.execute("set default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        product.apply(visits=[row(1)])


def test_two_bulk_edits_of_overlapping_visits_end_both(product: Product) -> None:
    product.apply(visits=[row(number) for number in range(200)])
    ids = [f"v-{number:04}" for number in range(200)]
    threads = [
        threading.Thread(target=product.database.connect("product").execute, args=(NOTE, (wanted,)))
        for wanted in (ids, list(reversed(ids)))
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert count(product.database.admin(), "sync.visit_head where version in (2, 3)") == 200


def test_a_bulk_edit_and_a_pusher_that_settles_do_not_wait_in_a_circle(product: Product) -> None:
    product.apply(visits=[row(number) for number in range(20)])
    product.week("finalized")
    release(product)
    ids = [f"v-{number:04}" for number in range(20)]
    pusher = HandPusher(product)
    sent = pusher.send(*ids)
    settling = threading.Thread(target=pusher.settle, args=(sent,))
    with product.product.transaction():
        product.product.execute(NOTE, (ids[10:],))
        settling.start()
        time.sleep(0.2)
        product.product.execute(NOTE, (ids[:10],))
    settling.join()
    admin = product.database.admin()
    assert count(admin, "sync.push_result where outcome = 'accepted'") == 20
    assert count(admin, "sync.todo where version = 2") == 20


def test_a_bulk_write_that_fails_leaves_nothing_of_itself(product: Product) -> None:
    product.apply(visits=[row(1)])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        product.apply(visits=[row(2), row(3, patient_id=999)])
    assert versions(product, "v-0002") == []


def test_bulk_deletes_take_back_what_was_sent(product: Product) -> None:
    product.apply(visits=[row(1), row(2)])
    product.week("finalized")
    release(product)
    HandPusher(product).push("v-0001", "v-0002")
    product.product.execute("delete from schedule.visit")
    assert todo(product) == [(f"v-000{n}", str(WEEK.monday), "withdraw", 2, 1) for n in (1, 2)]
