"""What a validation writes for people to read: its figures, the findings, and the figures by day.

In the transaction of the judgement. A run that is judged again with the same result changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.quality.batch import Judged
from partner_sync.quality.suites import Suite
from partner_sync.statements import statement


@dataclass(frozen=True, kw_only=True)
class Score:
    """One expectation of one organization in a run: values judged, and failed."""

    organization: str
    expectation: str
    evaluated: int
    failed: int


def record(work: Judged, suite: Suite, *, scores: Iterable[Score]) -> None:
    """Write the run's row and scores, move the findings on, and make the run's day again; inside a transaction.

    After quarantine.settle: a finding stays open while a key is known to fail it. ``suite`` has the scores' rules.
    """
    work.run("findings.plan_by_index")
    values = _as_arrays(scores)
    days = _days(work)
    _move_findings(work, suite, values=values)
    work.run("quality.record_runs", critical=suite.critical)
    work.run("quality.forget_results")
    work.run("quality.record_results", expectations=Jsonb([rule.as_reason() for rule in suite.rules]), **values)
    for day in sorted(days | _days(work)):
        make_days(work.conn, partner=work.partner, entity=work.entity, day=day)


def _move_findings(work: Judged, suite: Suite, *, values: Mapping[str, list[Any]]) -> None:
    texts = Jsonb([rule.as_text() for rule in suite.rules])
    work.run("findings.record_texts", texts=texts)
    for name in ("reopen_findings", "note_failures", "close_findings"):
        work.run(f"findings.{name}", texts=texts, whole=listed_whole(work), **values)


def listed_whole(work: Judged) -> list[str]:
    """The organizations of which this run has listed every record, and no run has listed since."""
    return [row["organization"] for row in work.run("findings.whole_slices")]


def _as_arrays(scores: Iterable[Score]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"of_organization": [], "of_expectation": [], "evaluated": [], "failed": []}
    for score in scores:
        of_score = (score.organization, score.expectation, score.evaluated, score.failed)
        for column, value in zip(columns.values(), of_score, strict=True):
            column.append(value)
    return columns


def _days(work: Judged) -> set[date]:
    """The days that the run's scores stand under; one that is judged again on a later day moves."""
    return {row["day"] for row in work.run("findings.days_of_run")}


def make_days(
    conn: Connection, *, partner: str | None = None, entity: str | None = None, day: date | None = None
) -> None:
    """Make the figures by day again from the runs' scores, as ``sync_validate``; None is all.

    Raises DatabaseAwayError, DatabaseRefusedError.
    """
    wanted = {"partner": partner, "entity": entity, "day": day}
    with translated_errors(), conn.transaction():
        conn.execute(statement("findings.plan_by_index"))
        for name in ("forget_day", "make_day", "forget_day_score", "make_day_score"):
            conn.execute(statement(f"findings.{name}"), wanted)
