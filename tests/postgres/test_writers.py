"""Each table has one writer; a second one is refused by the database (design, 4)."""

from __future__ import annotations

import psycopg
import pytest

from postgres_server import Database

#: Every table and the one login that writes to it; None: nobody does, only functions that run as their owner.
WRITERS = {
    "audit.event": None,
    "canonical.crosswalk": "merge",
    "canonical.key_map": "onboarding",
    "canonical.office": "merge",
    "canonical.office_history": None,
    "canonical.patient": "merge",
    "canonical.patient_history": None,
    "canonical.practitioner": "merge",
    "canonical.practitioner_history": None,
    "canonical.slice_merge": "merge",
    "canonical.watermark": "merge",
    "quality.day": "validate",
    "quality.day_score": "validate",
    "quality.due": "validate",
    "quality.expectation": "validate",
    "quality.field": "validate",
    "quality.finding": "validate",
    "quality.left_out": "validate",
    "quality.result": "validate",
    "quality.run": "validate",
    "quarantine.failing_key": "validate",
    "quarantine.release": None,
    "quarantine.row": "validate",
    "schedule.applied_revision": "product",
    "schedule.visit": "product",
    "schedule.week_state": "product",
    "staging.office": "extract",
    "staging.patient": "extract",
    "staging.practitioner": "extract",
    "staging.slice": "extract",
    "staging.slice_field": "extract",
    "sync.change_history": None,
    "sync.circuit": None,
    "sync.hold": None,
    "sync.incident": None,
    "sync.key_change": None,
    "sync.link": "onboarding",
    "sync.link_master": "onboarding",
    "sync.organization": "onboarding",
    "sync.parked_answer": None,
    "sync.push_attempt": None,
    "sync.push_request": "release",
    "sync.push_result": None,
    "sync.rate_binding": None,
    "sync.rate_bucket": None,
    "sync.rate_demand": None,
    "sync.rate_lease": None,
    "sync.rate_ledger": None,
    "sync.rate_limit": None,
    "sync.rate_open": None,
    "sync.rate_pause": None,
    "sync.rate_policy": None,
    "sync.reconciliation": None,
    "sync.reconciliation_item": None,
    "sync.reconciliation_sighting": None,
    "sync.release": None,
    "sync.requeue": None,
    "sync.run_event": None,
    "sync.todo": None,
    "sync.visit_head": None,
}
LOGINS = (
    "extract", "validate", "merge", "onboarding", "product", "release", "push", "run", "reader", "analyst", "page",
)  # fmt: skip


#: What each of the tables of this database lets each of our logins write, by whatever grant. A partition is reached by
#: its table.
_WHO_WRITES = """
select n.nspname || '.' || c.relname as name, array(
    select substr(r.rolname, 6) from pg_roles r
    where r.rolname ~ '^sync_' and (has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate')
        or has_any_column_privilege(r.oid, c.oid, 'insert, update'))
    order by 1) as writers
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f') and n.nspname !~ '^(pg_|information_schema$)' and c.relname <> 'alembic_version'
"""


def test_every_table_has_a_rule_and_no_other_writer_than_its_own(database: Database) -> None:
    database.admin().execute("select staging.ensure_partition('honoka')")
    found = {row["name"]: row["writers"] for row in database.admin().execute(_WHO_WRITES)}
    rules = {table: [login] if login else [] for table, login in WRITERS.items()}
    rules |= {f"staging.{entity}__honoka": [] for entity in ("office", "practitioner", "patient")}
    assert found == rules


def test_every_login_is_known_here(database: Database) -> None:
    rows = database.admin().execute("select substr(rolname, 6) as login from pg_roles where rolname ~ '^sync_'")
    assert {row["login"] for row in rows} == set(LOGINS)


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
