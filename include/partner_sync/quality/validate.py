"""Validation of a run's slices: what may be merged, what waits in quarantine, and the figures of both.

One entity after the other, in dependency order, and one judgement for all organizations of the run together: an
organization's figures are split from it. Of each entity the slice as a whole is judged as well (suite slice), and at
the end the visits to come (suite visit). The library is loaded only when there is a record to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import DataQualityError
from partner_sync.partners.fields import ENTITY_ORDER, Entity
from partner_sync.quality import batch, expectations, quarantine, slices_judged, visits_judged
from partner_sync.quality.batch import Judged, Today
from partner_sync.quality.expectations import Figures
from partner_sync.quality.suites import Subject, Suite, load_suite
from partner_sync.statements import statement


@dataclass(frozen=True, kw_only=True)
class EntityQuality:
    """One organization's entity in a run.

    ``evaluated``: records of the slice, and of the quarantine, that were judged. ``quarantined``: records of the slice
    that failed a critical expectation. ``returned``: quarantine rows that are open no more. ``waiting``: open ones.
    ``failed``: failing records by expectation, without those that nothing failed.
    """

    entity: Subject
    organization: str
    evaluated: int
    quarantined: int
    returned: int
    waiting: int
    failed: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class _Score:
    organization: str
    expectation: str
    evaluated: int
    failed: int


def validate_run(
    conn: Connection, *, partner: str, run_key: str, organizations: Iterable[str], entities: Iterable[Entity]
) -> tuple[EntityQuality, ...]:
    """Judge what extract has left in staging for this run, as ``sync_validate``; a second call gives the same state.

    Organizations without a finished slice of an entity are left out. ``conn`` is autocommit and outside a transaction.
    Raises DataQualityError when an expectation could not be evaluated, DatabaseAwayError, DatabaseRefusedError.
    """
    chosen, asked = frozenset(entities), sorted(set(organizations))
    found: list[EntityQuality] = []
    with translated_errors(), batch.prepared(conn) as today:
        for entity in (each for each in ENTITY_ORDER if each in chosen):
            work = batch.judged(conn, partner=partner, run_key=run_key, entity=entity, organizations=asked)
            if work.organizations:
                found += _validate(work, load_suite(entity), today=today)
        everything = Judged(conn=conn, partner=partner, run_key=run_key, entity="visit", organizations=asked)
        _validate_visits(visits_judged.judged(everything), today=today)
    return tuple(found)


def _validate(work: Judged, suite: Suite, *, today: Today) -> list[EntityQuality]:
    of_slices = load_suite("slice")
    slice_scores = _judge(work, of_slices, records=slices_judged.fill(work), today=today)
    scores = _judge(work, suite, records=batch.fill(work), today=today)
    with work.conn.transaction():
        work.run("quality.take_turn")
        quarantine.settle(work, suite)
        _record(work, suite.joined_with(of_slices), scores=[*scores, *slice_scores])
    return _summary(work, scores)


def _validate_visits(work: Judged, *, today: Today) -> None:
    """Visits are ours: what fails is a finding, and none is kept from anything."""
    if not work.organizations:
        return
    suite = load_suite("visit")
    scores = _judge(work, suite, records=visits_judged.fill(work), today=today)
    with work.conn.transaction():
        work.run("quality.take_turn")
        visits_judged.note_failing(work, suite)
        _record(work, suite, scores=scores)


def _judge(work: Judged, suite: Suite, *, records: int, today: Today) -> list[_Score]:
    figures = expectations.judge(work.conn, suite, parameters=today.as_suite_parameters()) if records else {}
    scores = _scores(work, suite)
    _refuse_disagreement(suite, figures, scores=scores)
    return scores


def _scores(work: Judged, suite: Suite) -> list[_Score]:
    """The figures of each organization, counted from the batch and its failing records."""
    failed = {(row["organization"], row["code"]): int(row["failed"]) for row in work.run("quality.count_failed")}
    return [
        _Score(
            organization=row["organization"],
            expectation=rule.code,
            evaluated=row["records" if rule.judges_empty else rule.column],
            failed=failed.get((row["organization"], rule.code), 0),
        )
        for row in _count_evaluated(work, suite)
        for rule in suite.rules
    ]


def _count_evaluated(work: Judged, suite: Suite) -> list[dict[str, Any]]:
    columns = sorted({rule.column for rule in suite.rules if not rule.judges_empty})
    counts = sql.SQL("").join(
        sql.SQL(", count({name}) as {name}").format(name=sql.Identifier(each)) for each in columns
    )
    return work.conn.execute(sql.SQL(statement("quality.count_evaluated")).format(counts=counts)).fetchall()


def _refuse_disagreement(suite: Suite, figures: Mapping[str, Figures], *, scores: Iterable[_Score]) -> None:
    """Raises DataQualityError when what our pass counted is not what the library counted."""
    counted = {code: [0, 0] for code in figures}
    for score in scores:
        counted[score.expectation][0] += score.evaluated
        counted[score.expectation][1] += score.failed
    wrong = [code for code, its in figures.items() if counted[code] != [its.evaluated, its.failed]]
    if wrong:
        raise DataQualityError(suite=suite.entity, count=len(wrong), expectations=", ".join(wrong))


def _record(work: Judged, suite: Suite, *, scores: list[_Score]) -> None:
    work.run("quality.record_runs", critical=suite.critical)
    work.run("quality.forget_results")
    work.run(
        "quality.record_results",
        of_organization=[score.organization for score in scores],
        of_expectation=[score.expectation for score in scores],
        evaluated=[score.evaluated for score in scores],
        failed=[score.failed for score in scores],
        expectations=Jsonb([rule.as_reason() for rule in suite.rules]),
    )


def _summary(work: Judged, scores: list[_Score]) -> list[EntityQuality]:
    failed: dict[str, dict[str, int]] = {}
    for score in scores:
        if score.failed:
            failed.setdefault(score.organization, {})[score.expectation] = score.failed
    return [
        EntityQuality(entity=work.entity, failed=failed.get(row["organization"], {}), **row)
        for row in work.run("quality.read_runs")
    ]
