"""Checks across entities: visits to come, beside the patients and practitioners that they name."""

from __future__ import annotations

from dataclasses import replace

from partner_sync.quality.batch import Judged
from partner_sync.quality.suites import Suite


def judged(work: Judged) -> Judged:
    """``work`` for the organizations whose visits are judged: the partner is a master of whom they are for or by."""
    found = [row["organization"] for row in work.run("quality_visits.read_organizations")]
    return replace(work, organizations=found)


def fill(work: Judged) -> int:
    """Make the batch; returns how many visits are in it."""
    for name in ("quality.drop_batch", "quality_visits.make_visits", "quality.make_failing", "quality.make_aside"):
        work.run(name)
    work.run("quality_visits.fill_visits")
    counted = work.run("quality.count_batch").fetchone() or {}
    return int(counted["records"])


def note_failing(work: Judged, suite: Suite) -> None:
    """Keep which visits fail what, and no others; inside a transaction."""
    work.run("quality_visits.forget_failing")
    work.run("quarantine.note_failing_keys", noted=suite.noted)
