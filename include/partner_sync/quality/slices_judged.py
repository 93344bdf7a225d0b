"""Checks across runs: a slice as a whole, beside what was read before and what is known of the partner's fields."""

from __future__ import annotations

from partner_sync.master.shapes import MAX_PATHS
from partner_sync.quality.batch import Judged


def fill(work: Judged) -> int:
    """Make the batch, one row a slice; returns how many are worth judging."""
    with work.conn.transaction():
        # Two judgements at once would write the same fields, each in its own order.
        work.run("quality.take_turn")
        work.run("quality_drift.note_fields")
        work.run("quality_drift.note_vanished", most_paths=MAX_PATHS)
        work.run("quality_drift.forget_vanished")
    for name in (
        "quality.drop_batch",
        "quality_slices.make_slices",
        "quality.make_failing",
        "quality_slices.fill_slices",
    ):
        work.run(name)
    if work.entity == "patient":
        work.run("quality_slices.count_gone")
    work.run("quality_slices.drop_idle")
    counted = work.run("quality.count_batch").fetchone() or {}
    return int(counted["records"])
