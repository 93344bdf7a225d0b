"""Validation of a run's slices: what may be merged, what waits in quarantine, and the figures of both.

One entity after the other, in dependency order, and one judgement for all organizations of the run together: an
organization's figures are split from it. Of each entity the slice as a whole is judged as well (suite slice), and at
the end the visits to come (suite visit). The library is loaded only when there is a record to judge.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg import sql

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import DataQualityError
from partner_sync.partners.fields import ENTITY_ORDER, Entity
from partner_sync.quality import batch, data_docs, expectations, quarantine, slices_judged, visits_judged
from partner_sync.quality.batch import Judged, Today
from partner_sync.quality.expectations import Figures, Judgement
from partner_sync.quality.record import Score, record
from partner_sync.quality.suites import Subject, Suite, load_suite
from partner_sync.statements import statement

_log = logging.getLogger(__name__)
_NOTHING = Judgement(figures={}, results=())


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


def validate_run(
    conn: Connection,
    *,
    partner: str,
    run_key: str,
    organizations: Iterable[str],
    entities: Iterable[Entity],
    cp932_partners: Iterable[str] = (),
    docs_folder: Path | None = None,
) -> tuple[EntityQuality, ...]:
    """Judge what extract has left in staging for this run, as ``sync_validate``; a second call gives the same state.

    Organizations without a finished slice of an entity are left out. ``conn`` is autocommit and outside a transaction.
    ``cp932_partners``: the partners whose files say that they can hold CP932 only. ``docs_folder``: the folder of the
    library's pages, when they are wanted.
    Raises DataQualityError when an expectation could not be evaluated, DatabaseAwayError, DatabaseRefusedError.
    """
    chosen = frozenset(entities)
    found: list[EntityQuality] = []
    asked = Judged(
        conn=conn,
        partner=partner,
        run_key=run_key,
        entity="visit",
        organizations=sorted(set(organizations)),
        cp932_partners=list(cp932_partners),
    )
    with translated_errors(), batch.prepared(conn) as today:
        for entity in (each for each in ENTITY_ORDER if each in chosen):
            work = batch.judged(replace(asked, entity=entity))
            if work.organizations:
                found += _validate(work, load_suite(entity), today=today, docs=docs_folder)
        _validate_visits(visits_judged.judged(asked), today=today, docs=docs_folder)
    return tuple(found)


def _validate(work: Judged, suite: Suite, *, today: Today, docs: Path | None) -> list[EntityQuality]:
    of_slices = load_suite("slice")
    slice_scores = _judge(work, of_slices, records=slices_judged.fill(work), today=today)
    scores = _judge(work, suite, records=batch.fill(work), today=today, docs=docs)
    with work.conn.transaction():
        work.run("quality.take_turn")
        quarantine.settle(work, suite)
        record(work, suite.joined_with(of_slices), scores=[*scores, *slice_scores])
    return _summary(work, scores)


def _validate_visits(work: Judged, *, today: Today, docs: Path | None) -> None:
    """Visits are ours: what fails is a finding, and none is kept from anything."""
    if not work.organizations:
        return
    suite = load_suite("visit")
    scores = _judge(work, suite, records=visits_judged.fill(work), today=today, docs=docs)
    with work.conn.transaction():
        work.run("quality.take_turn")
        visits_judged.note_failing(work, suite)
        record(work, suite, scores=scores)


def _judge(work: Judged, suite: Suite, *, records: int, today: Today, docs: Path | None = None) -> list[Score]:
    found = _NOTHING
    if records:
        found = expectations.judge(work.conn, suite, parameters=today.as_suite_parameters())
    scores = _scores(work, suite)
    _refuse_disagreement(suite, found.figures, scores=scores)
    if docs and found.results:
        _write_docs(docs, work, suite, found=found)
    return scores


def _write_docs(folder: Path, work: Judged, suite: Suite, *, found: Judgement) -> None:
    try:
        data_docs.write(folder, partner=work.partner, run_key=work.run_key, suite=suite, results=found.results)
    except OSError as error:
        # A full disk must not keep what was judged from the merge; the pages are made again by the next run.
        _log.warning("Data Docs of %s %s were not written: %s", work.partner, suite.entity, type(error).__name__)


def _scores(work: Judged, suite: Suite) -> list[Score]:
    """The figures of each organization, counted from the batch and its failing records."""
    failed = {(row["organization"], row["code"]): int(row["failed"]) for row in work.run("quality.count_failed")}
    return [
        Score(
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


def _refuse_disagreement(suite: Suite, figures: Mapping[str, Figures], *, scores: Iterable[Score]) -> None:
    """Raises DataQualityError when what our pass counted is not what the library counted."""
    counted = {code: [0, 0] for code in figures}
    for score in scores:
        counted[score.expectation][0] += score.evaluated
        counted[score.expectation][1] += score.failed
    wrong = [code for code, its in figures.items() if counted[code] != [its.evaluated, its.failed]]
    if wrong:
        raise DataQualityError(suite=suite.entity, count=len(wrong), expectations=", ".join(wrong))


def _summary(work: Judged, scores: list[Score]) -> list[EntityQuality]:
    failed: dict[str, dict[str, int]] = {}
    for score in scores:
        if score.failed:
            failed.setdefault(score.organization, {})[score.expectation] = score.failed
    return [
        EntityQuality(entity=work.entity, failed=failed.get(row["organization"], {}), **row)
        for row in work.run("quality.read_runs")
    ]
