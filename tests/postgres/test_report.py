"""What the pages read from the database, and what its login may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from partner_sync.database import Connection
from partner_sync.masking import masked
from partner_sync.report.reading import Chosen, Report, entity_scores, known_partners, reading
from partner_sync.statements import statement, statements_of
from postgres_server import Database

SAMPLE = Path(__file__).parents[1] / "quality_sample.sql"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: "e" not in repr(x))
    | st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def page(database: Database) -> Connection:
    database.admin().execute(SAMPLE.read_text(encoding="utf-8").encode())
    return database.connect("page")


def test_the_database_masks_as_the_core_does(database: Database) -> None:
    admin = database.admin()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(VALUES)
    def agree(value: Any) -> None:
        row = admin.execute("select %s::jsonb as kept, quarantine.masked(%s::jsonb) as shape", [Jsonb(value)] * 2)
        found = row.fetchall()[0]
        assert found["shape"] == masked(found["kept"])

    agree()


def test_a_records_shape_has_no_value_of_it(page: Connection) -> None:
    shape = page.execute(statement("report.record_shape"), {"id": 1}).fetchall()[0]["shape"]
    assert shape[0]["name"] == {"family": "text(9)", "given": "text(28)"}
    assert "SECRET" not in json.dumps(shape)


def test_a_page_is_one_snapshot_and_writes_nothing(page: Connection) -> None:
    with reading(page) as conn:
        assert conn.execute("show transaction_read_only").fetchall() == [{"transaction_read_only": "on"}]
        assert conn.execute("show transaction_isolation").fetchall() == [{"transaction_isolation": "repeatable read"}]


@pytest.mark.parametrize(
    "table", ["quarantine.row", "quarantine.failing_key", "quality.run", "audit.event", "staging.patient"]
)
def test_the_pages_login_reaches_no_table(page: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        page.execute(f"select * from {table}".encode())


def test_every_statement_of_the_pages_can_be_run_by_their_login(page: Connection) -> None:
    values = {
        "partners": ["honoka"], "partner": "honoka", "organization": "aoba", "entity": "patient", "expectation": "",
        "severity": "", "since": "2026-01-01", "recent": "2026-01-01", "limit": 5, "offset": 0, "id": 1,
        "who": "tester", "reason": "long enough", "run_key": "x",
    }  # fmt: skip
    for name, text in statements_of("report").items():
        if name != "begin_page":
            page.execute(text, values).fetchall()


def test_each_partner_is_found_with_its_last_run(page: Connection) -> None:
    assert [row["partner"] for row in known_partners(page)] == ["honoka", "tsubaki"]


def test_an_organizations_score_comes_from_the_same_figures_as_the_partners(page: Connection) -> None:
    report = Report(page, ["honoka"])
    whole = entity_scores(report, "honoka", Chosen("", "patient"), days=30)
    one = entity_scores(report, "honoka", Chosen("aoba", "patient"), days=30)
    assert whole.total.score == pytest.approx(1 - (1 * 5 + 10 * 2) / (100 * 8))
    assert one.total.score == pytest.approx(whole.total.score)
    assert (one.total.evaluated * 2, len(one.days)) == (whole.total.evaluated, 30)


def test_fields_that_appeared_changed_or_vanished_are_shown_and_known_ones_not(
    database: Database, page: Connection
) -> None:
    database.admin().execute(
        "insert into quality.field (partner, organization, entity, path, types, share, from_the_start, first_run_key,"
        " last_run_key, changed_at, changed_run_key, changed_from, vanished_at, vanished_run_key) values"
        " ('honoka', 'aoba', 'patient', 'id', '{string}', 1, true, 'r', 'r', null, null, null, null, null),"
        " ('honoka', 'aoba', 'patient', 'new', '{string}', 1, false, 'r', 'r', null, null, null, null, null),"
        " ('honoka', 'aoba', 'patient', 'other', '{number}', 1, true, 'r', 'r', now(), 'r', '{string}', null, null),"
        " ('honoka', 'aoba', 'patient', 'gone', '{string}', 1, true, 'r', 'r', null, null, null, now(), 'r')"
    )
    asked = {"partner": "honoka", "entity": "patient", "organization": ""}
    rows = Report(page, ["honoka"]).rows("report.drift", **asked)
    assert {row["path"]: row["status"] for row in rows} == {"new": "new", "other": "changed", "gone": "vanished"}
    assert all(row["since_at"] for row in rows)
