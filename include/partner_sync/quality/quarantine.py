"""The quarantine: which records wait, why, and which are let back in (rule 11)."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from partner_sync.quality.batch import Judged
from partner_sync.quality.record import listed_whole
from partner_sync.quality.suites import Suite


def settle(work: Judged, suite: Suite) -> None:
    """Bring quarantine and the rows left out of the merge in line with the judgement; inside a transaction.

    All copies of a key that came with different contents wait in one row. A row goes in again as open; a row whose
    return was never merged is judged again, so that nothing is lost when a run ends in between.
    """
    critical = suite.critical
    reasons = Jsonb([rule.as_reason() for rule in suite.rules])
    releases = work.run("quarantine.find_releases").fetchone() or {}
    if releases["any"]:
        work.run("quarantine.mark_released", critical=critical)
    work.run("quality.forget_left_out")
    work.run("quality.leave_out", critical=critical)
    work.run("quarantine.reopen", critical=critical)
    work.run("quarantine.quarantine_listed", critical=critical, expectations=reasons)
    work.run("quarantine.keep_waiting", critical=critical, expectations=reasons)
    work.run("quarantine.let_back_in", critical=critical)
    work.run("quarantine.let_released_in")
    work.run("quarantine.let_newer_in", critical=critical)
    work.run("quarantine.forget_failing_keys")
    work.run("quarantine.forget_unlisted_keys", whole=listed_whole(work))
    work.run("quarantine.note_failing_keys", noted=suite.noted)
