"""The report for any BI tool: the login of analysts, what it can read, and that every column says what it means."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import dict_row

from postgres.judging import Judging, rule
from postgres.staged import Staged
from postgres_server import Database

_VIEWS = """
select c.relname as view from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'report' and c.relkind = 'v' order by 1
"""
_WITHOUT_COMMENT = """
select c.relname || coalesce('.' || a.attname, '') as name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'report'
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind = 'v' and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)
order by 1
"""
#: Whatever a login may read or run in a schema of ours that it can reach.
_REACHED = """
select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname !~ '^(pg_|information_schema$)'
  and has_schema_privilege('sync_analyst', n.oid, 'usage')
  and (c.relkind = 'S' and has_sequence_privilege('sync_analyst', c.oid, 'usage, select, update')
    or c.relkind <> 'S' and has_any_column_privilege('sync_analyst', c.oid, 'select, insert, update'))
union
select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^(pg_|information_schema$)' and has_schema_privilege('sync_analyst', n.oid, 'usage')
  and has_function_privilege('sync_analyst', p.oid, 'execute')
order by 1
"""


def names(database: Database, query: str) -> list[str]:
    return [next(iter(row.values())) for row in database.admin().execute(query)]  # type: ignore[call-overload]


def test_every_view_and_every_column_of_the_report_says_what_it_means(database: Database) -> None:
    assert names(database, _WITHOUT_COMMENT) == []


def test_an_analyst_reaches_the_views_of_the_report_but_that_of_the_audit_and_nothing_else(database: Database) -> None:
    views = [f"report.{view}" for view in names(database, _VIEWS)]
    assert "report.audit" in views
    assert names(database, _REACHED) == [view for view in views if view != "report.audit"]


def test_an_analyst_reads_over_a_plain_connection_what_a_run_has_found(database: Database) -> None:
    Judging(Staged(database), rule(severity="critical")).judge("r1", {"k1": True, "k2": False})
    with psycopg.connect(database.url("analyst"), row_factory=dict_row) as conn:
        [score] = conn.execute("select dimension, evaluated, failed, score from report.score_day").fetchall()
        [finding] = conn.execute("select expectation, open, runs, ja from report.finding").fetchall()
        [waiting] = conn.execute("select status, has_key, expectations, copies from report.quarantine").fetchall()
        [key] = conn.execute("select expectation, canonical_id, key_length from report.failing_key").fetchall()
        for view in ("expectation", "run", "result", "expectation_day"):
            assert len(conn.execute(f"select from report.{view}").fetchall()) == 1
    assert (score["evaluated"], score["failed"], float(score["score"])) == (2, 1, 0.5)
    assert (finding["open"], finding["runs"], finding["ja"]) == (True, 1, "電話番号の形になっている。")
    assert waiting == {"status": "open", "has_key": True, "expectations": ["phone_number_shape"], "copies": 1}
    assert key == {"expectation": "phone_number_shape", "canonical_id": None, "key_length": 2}


def test_a_score_weighs_each_value_by_its_severity(database: Database) -> None:
    staged = Staged(database)
    Judging(staged, rule("a", severity="critical")).judge("r1", {"k1": True, "k2": False})
    Judging(staged, rule("b", severity="info")).judge("r2", {"k3": False, "k4": False}, full=False)
    row = database.connect("analyst").execute("select weight_evaluated, weight_failed from report.score_day").fetchone()
    assert row == {"weight_evaluated": 2 * 5 + 2 * 1, "weight_failed": 5}


@pytest.mark.parametrize(
    "query",
    [
        "select * from report.audit",
        "select * from quarantine.row",
        "select * from canonical.patient",
        "select * from quality.result",
        "delete from report.run",
        "update report.expectation set ja = ''",
        "create table report.mine (x int)",
        "create table mine (x int)",
    ],
)
def test_an_analyst_reads_nothing_else_and_writes_nothing(database: Database, query: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect("analyst").execute(query)  # type: ignore[call-overload]
