"""The figures of each page, read from the views of schema report (login ``sync_page``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from partner_sync.database import Connection, translated_errors
from partner_sync.report.scores import DIMENSIONS, SEVERITIES, Point, Weights, days_between, history, summed
from partner_sync.statements import statement

Row = dict[str, Any]

#: A score is that of so many days, today included: one bad small run does not turn it over.
RECENT_DAYS = 7
TREND_DAYS = 30
PAGE_ROWS = 50
#: Each has a plot with its table.
PAGE_PARTNERS = 25


@dataclass(frozen=True)
class Chosen:
    """What a person has narrowed a page to; empty is all."""

    organization: str = ""
    entity: str = ""
    expectation: str = ""
    severity: str = ""


@dataclass(frozen=True)
class Listed:
    """One page of a long list."""

    rows: list[Row]
    page: int
    more: bool


@dataclass(frozen=True, kw_only=True)
class PartnerGlance:
    """One partner in the overview."""

    partner: str
    last_run_at: datetime
    last_run_key: str
    findings: dict[str, int]
    waiting: int
    oldest_at: datetime | None
    score: Weights
    dimensions: dict[str, Weights]
    trend: list[Point]


class Report:
    """Reads in one snapshot; a context is one page. ``partners``: those that the person may see."""

    def __init__(self, conn: Connection, partners: Sequence[str]) -> None:
        self._conn = conn
        self.partners = list(partners)
        self.today: date = self.rows("report.today")[0]["today"]

    def rows(self, name: str, **values: Any) -> list[Row]:
        """All rows of a named statement."""
        return self._conn.execute(statement(name), values).fetchall()

    def page_of(self, name: str, number: int, **values: Any) -> Listed:
        """One page of a statement with limit and offset; one row more tells whether there is another."""
        rows = self.rows(name, limit=PAGE_ROWS + 1, offset=(number - 1) * PAGE_ROWS, **values)
        return Listed(rows[:PAGE_ROWS], number, more=len(rows) > PAGE_ROWS)

    def since(self, days: int) -> date:
        """The first of so many days, today included."""
        return self.today - timedelta(days=days - 1)


@contextmanager
def reading(conn: Connection) -> Iterator[Connection]:
    """One read-only snapshot; raises DatabaseAwayError and DatabaseRefusedError."""
    with translated_errors(), conn.transaction():
        conn.execute(statement("report.begin_page"))
        yield conn


def known_partners(conn: Connection) -> list[Row]:
    """Each partner that was ever validated, with its last run."""
    return conn.execute(statement("report.partners")).fetchall()


@dataclass(frozen=True)
class Standing:
    """What is open now, by partner: causes by severity, and records that wait."""

    findings: dict[str, dict[str, int]]
    waiting: dict[str, Row]

    def total(self, severity: str) -> int:
        """Open causes of all partners."""
        return sum(found.get(severity, 0) for found in self.findings.values())

    @property
    def records(self) -> int:
        """Records of all partners that wait."""
        return sum(row["records"] for row in self.waiting.values())

    @property
    def oldest_at(self) -> datetime | None:
        """Since when the oldest of them waits."""
        return min((row["oldest_at"] for row in self.waiting.values()), default=None)

    def badness(self, partner: str) -> tuple[int, ...]:
        """The greater, the earlier a person should look."""
        found, waits = self.findings.get(partner, {}), self.waiting.get(partner)
        return (*(found.get(severity, 0) for severity in SEVERITIES), waits["records"] if waits else 0)


def standing(report: Report) -> Standing:
    """What is open now."""
    findings: dict[str, dict[str, int]] = {}
    for row in report.rows("report.open_findings", partners=report.partners):
        findings.setdefault(row["partner"], {})[row["severity"]] = row["findings"]
    waiting = {row["partner"]: row for row in report.rows("report.open_quarantine", partners=report.partners)}
    return Standing(findings, waiting)


def glances(report: Report, partners: Sequence[Row], now: Standing) -> list[PartnerGlance]:
    """The lines of the overview, in the order of ``partners``."""
    scores = _overview_scores(report, [row["partner"] for row in partners])
    return [_glance(row, now=now, scores=scores) for row in partners]


@dataclass(frozen=True)
class _Scores:
    days: list[date]
    by_day: dict[str, dict[date, Weights]]
    by_dimension: dict[str, dict[str, Weights]]


def _overview_scores(report: Report, partners: list[str]) -> _Scores:
    since, recent = report.since(TREND_DAYS), report.since(RECENT_DAYS)
    found = _Scores(days_between(since, report.today), {}, {})
    for row in report.rows("report.overview_scores", partners=partners, since=since, recent=recent):
        if row["day"] is not None:
            found.by_day.setdefault(row["partner"], {})[row["day"]] = Weights(row["evaluated"], row["failed"])
        else:
            weights = Weights(row["recent_evaluated"], row["recent_failed"])
            found.by_dimension.setdefault(row["partner"], {})[row["dimension"]] = weights
    return found


def _glance(row: Row, *, now: Standing, scores: _Scores) -> PartnerGlance:
    dimensions = scores.by_dimension.get(row["partner"], {})
    waits = now.waiting.get(row["partner"])
    return PartnerGlance(
        partner=row["partner"],
        last_run_at=row["last_run_at"],
        last_run_key=row["last_run_key"],
        findings=now.findings.get(row["partner"], {}),
        waiting=waits["records"] if waits else 0,
        oldest_at=waits["oldest_at"] if waits else None,
        score=sum(dimensions.values(), Weights()),
        dimensions={name: dimensions.get(name, Weights()) for name in DIMENSIONS},
        trend=history(scores.by_day.get(row["partner"], {}), scores.days),
    )


@dataclass(frozen=True, kw_only=True)
class EntityScores:
    """An entity's scores: of the last days by dimension, and day by day (all dimensions, and each)."""

    recent: dict[str, Weights]
    total: Weights
    days: list[date]
    by_dimension: dict[str, dict[date, Weights]]

    @property
    def days_judged(self) -> list[date]:
        """The days on which anything was judged."""
        return [day for day in self.days if any(day in found for found in self.by_dimension.values())]


def entity_scores(report: Report, partner: str, chosen: Chosen, *, days: int) -> EntityScores:
    """The scores of an entity of a partner, all organizations or one."""
    values = {"partner": partner, "entity": chosen.entity, "since": report.since(days)}
    if chosen.organization:
        rows = report.rows("report.entity_scores_of_organization", organization=chosen.organization, **values)
    else:
        rows = report.rows("report.entity_scores", **values)
    found = summed((row for row in rows if row["day"] >= report.since(RECENT_DAYS)), "dimension")
    recent = {name: found[name] for name in DIMENSIONS if name in found}
    by_dimension = {
        name: summed((row for row in rows if row["dimension"] == name), "day")
        for name in DIMENSIONS
        if any(row["dimension"] == name for row in rows)
    }
    every_day = days_between(report.since(days), report.today)
    return EntityScores(recent=recent, total=sum(recent.values(), Weights()), days=every_day, by_dimension=by_dimension)


@dataclass(frozen=True, kw_only=True)
class ExpectationFigures:
    """One expectation on a page: its texts, the last days, its history and its open cause."""

    rule: Row
    recent: Weights
    trend: list[Point]
    open: Row | None


def expectation_figures(report: Report, partner: str, chosen: Chosen, *, days: int) -> list[ExpectationFigures]:
    """Each expectation of an entity (or the chosen one): those with an open cause first, then the weightiest."""
    narrowed = {"partner": partner, "entity": chosen.entity, "organization": chosen.organization}
    rows = report.rows("report.expectation_days", since=report.since(days), expectation=chosen.expectation, **narrowed)
    by_expectation: dict[str, dict[date, Weights]] = {}
    for row in rows:
        by_expectation.setdefault(row["expectation"], {})[row["day"]] = Weights(row["evaluated"], row["failed"])
    causes = {row["expectation"]: row for row in report.rows("report.findings_by_expectation", **narrowed)}
    every_day, recent = days_between(report.since(days), report.today), report.since(RECENT_DAYS)
    found = [
        ExpectationFigures(
            rule=rule,
            recent=sum((each for day, each in by_day.items() if day >= recent), Weights()),
            trend=history(by_day, every_day),
            open=causes.get(rule["expectation"]),
        )
        for rule in report.rows("report.expectations", entity=chosen.entity)
        if chosen.expectation in ("", rule["expectation"])
        for by_day in [by_expectation.get(rule["expectation"], {})]
    ]
    return sorted(found, key=lambda each: each.open is None)
