"""The batch: what one validation of an entity judges, as temporary tables of the session (sql/quality.sql).

All organizations' slices of the run lie in one batch, together with the open quarantine rows that are not listed
anew; helper columns answer what an expectation of one value cannot ask (is the office known, does a file go out).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from psycopg import Cursor, sql
from psycopg.rows import DictRow

from partner_sync.database import Connection
from partner_sync.quality.suites import Subject
from partner_sync.statements import statement

TABLE = "batch"


@dataclass(frozen=True, kw_only=True)
class Today:
    """The database's clock: the day in Asia/Tokyo, and a moment that is surely in the future."""

    today: date
    tomorrow: datetime

    def as_suite_parameters(self) -> dict[str, object]:
        """What ``{"$PARAMETER": ..}`` may name in a suite."""
        return {"today": self.today.isoformat(), "tomorrow": self.tomorrow.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is judged: one entity of one run; ``organizations`` are those that have a slice.

    ``cp932_partners``: the partners to which schedules go that can hold CP932 only.
    """

    conn: Connection
    partner: str
    run_key: str
    entity: Subject
    organizations: list[str]
    cp932_partners: list[str]

    def run(self, name: str, **values: Any) -> Cursor[DictRow]:
        """Run a statement ``file.name`` with the run's parameters and the entity's staging table filled in."""
        query = sql.SQL(statement(name)).format(rows=sql.Identifier("staging", self.entity))
        return self.conn.execute(query, self.parameters() | values)

    def parameters(self) -> dict[str, Any]:
        return {
            "partner": self.partner,
            "run_key": self.run_key,
            "entity": self.entity,
            "organizations": self.organizations,
            "cp932_partners": self.cp932_partners,
        }


@contextmanager
def prepared(conn: Connection) -> Iterator[Today]:
    """A session in which a batch can be made; the temporary tables and settings are gone afterwards."""
    row = conn.execute(statement("quality.prepare_session")).fetchone() or {}
    try:
        yield Today(today=row["today"], tomorrow=row["tomorrow"])
    finally:
        if not conn.broken:
            conn.execute(statement("quality.drop_batch"))
            conn.execute(statement("quality.restore_session"))


def judged(asked: Judged) -> Judged:
    """What of these organizations there is to judge: those whose slice extract has finished, complete or not."""
    return replace(asked, organizations=[row["organization"] for row in asked.run("quality.read_slices")])


def fill(work: Judged) -> int:
    """Make the batch; returns how many records are in it."""
    work.run("quality.drop_batch")
    for name in ("known_office", "writes_files", f"batch_{work.entity}", "twin", "failing", "aside"):
        work.run(f"quality.make_{name}")
    work.run("quality.fill_known_office")
    work.run("quality.fill_writes_files")
    _fill_from(work, "source_slice")
    work.run("quality.find_twins")
    work.run("quality.mark_twins")
    _fill_from(work, "source_quarantine")
    work.run("quality.set_aside")
    if work.entity == "patient":
        work.run("quality.mark_insured_twice")
    counted = work.run("quality.count_batch").fetchone() or {}
    return int(counted["records"])


def _fill_from(work: Judged, source: str) -> None:
    rows = sql.SQL(statement(f"quality.{source}")).format(rows=sql.Identifier("staging", work.entity))
    query = sql.SQL(statement(f"quality.fill_batch_{work.entity}")).format(source=rows)
    work.conn.execute(query, work.parameters())
