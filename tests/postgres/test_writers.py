"""Each table has one writer; a second one is refused by the database (design, 4)."""

from __future__ import annotations

import psycopg
import pytest

from postgres_server import Database

WRITERS = {
    "staging.patient": "extract",
    "staging.slice": "extract",
    "canonical.patient": "merge",
    "canonical.crosswalk": "merge",
    "canonical.watermark": "merge",
    "canonical.key_map": "onboarding",
    "schedule.visit": "product",
    "schedule.week_state": "product",
    "sync.organization": "onboarding",
    "sync.link": "onboarding",
    "sync.push_request": "release",
    "sync.change_history": None,
    "sync.visit_head": None,
    "sync.release": None,
    "sync.requeue": None,
    "sync.todo": None,
    "sync.push_attempt": None,
    "sync.push_result": None,
    "sync.reconciliation": None,
    "sync.reconciliation_sighting": None,
    "sync.reconciliation_item": None,
    "sync.circuit": None,
    "sync.hold": None,
    "canonical.patient_history": None,
}
LOGINS = ("extract", "validate", "merge", "onboarding", "product", "release", "push", "run", "reader")


@pytest.mark.parametrize("table", WRITERS)
def test_only_its_writer_may_insert(database: Database, table: str) -> None:
    admin = database.admin()
    allowed = {
        login
        for login in LOGINS
        if admin.execute("select has_table_privilege(%s, %s, 'insert') as may", (f"sync_{login}", table)).fetchone()[
            "may"
        ]
    }
    assert allowed == ({WRITERS[table]} if WRITERS[table] else set())


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize(
    "table", ["sync.change_history", "sync.push_result", "sync.circuit", "sync.hold", "schedule.visit"]
)
def test_a_second_writer_is_refused(database: Database, login: str, table: str) -> None:
    if WRITERS[table] == login:
        pytest.skip("it is the writer")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(login).execute(f"delete from {table}")


@pytest.mark.parametrize("login", LOGINS)
def test_no_login_owns_anything_or_may_make_roles(database: Database, login: str) -> None:
    role = (
        database.admin()
        .execute(
            "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls as mighty,"
            " exists (select from pg_class c where c.relowner = r.oid) as owner from pg_roles r where rolname = %s",
            (f"sync_{login}",),
        )
        .fetchone()
    )
    assert not role["mighty"]
    assert not role["owner"]


@pytest.mark.parametrize("login", [login for login in LOGINS if login != "push"])
def test_only_the_pusher_may_open_or_repair_a_comparison(database: Database, login: str) -> None:
    conn = database.connect(login)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select sync.open_reconciliation('honoka', 'sakura', date '2026-11-23', 'r1', 1)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select sync.repair_reconciliation(1, true, 'somebody')")


def test_functions_that_cross_a_border_have_a_fixed_search_path(database: Database) -> None:
    loose = (
        database.admin()
        .execute(
            "select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where n.nspname in ('staging', 'quarantine', 'canonical', 'schedule', 'sync', 'quality') and p.prosecdef"
            " and not exists (select from unnest(p.proconfig) c where c like 'search_path=%')"
        )
        .fetchall()
    )
    assert loose == []


def test_nobody_else_may_call_the_pushers_functions(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect("extract").execute("select sync.become_owner()")
