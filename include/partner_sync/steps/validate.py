"""Validate everything that a run has read, in one go: the library that judges costs seconds to load."""

from __future__ import annotations

from collections.abc import Sequence

from partner_sync.partners.fields import Entity
from partner_sync.quality.validate import validate_run
from partner_sync.steps.organizations import Doors
from partner_sync.steps.outcomes import Outcomes, RunName


def validate_organizations(
    doors: Doors, run: RunName, *, organizations: Sequence[str], entities: Sequence[Entity]
) -> None:
    """Judge the slices of these organizations and say what came of each.

    Raises DataQualityError when an expectation could not be evaluated, DatabaseAwayError, DatabaseRefusedError.
    """
    with doors.connect("validate") as conn, doors.connect("run") as outcomes_conn:
        outcomes = Outcomes(outcomes_conn, run, step="validate")
        judged = validate_run(
            conn, partner=run.partner, run_key=run.run_key, organizations=organizations, entities=entities
        )
        for quality in judged:
            outcomes.judged(quality)
