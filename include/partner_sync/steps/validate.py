"""Validate everything that a run has read, in one go: the library that judges costs seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partner_sync.errors import SharedValidationError
from partner_sync.partners.fields import Entity
from partner_sync.quality.shared import Due, answer_of, ask, give_up
from partner_sync.quality.validate import validate_run
from partner_sync.steps.organizations import Doors
from partner_sync.steps.outcomes import Outcomes, RunName


def validate_organizations(
    doors: Doors,
    run: RunName,
    *,
    organizations: Sequence[str],
    entities: Sequence[Entity],
    cp932_partners: Sequence[str] = (),
    docs_folder: Path | None = None,
) -> None:
    """Judge the slices of these organizations and say what came of each.

    ``cp932_partners``: the partners whose files say that they can hold CP932 only. ``docs_folder``: the folder of the
    library's pages, when they are wanted. Raises DataQualityError when an expectation could not be evaluated,
    DatabaseAwayError, DatabaseRefusedError.
    """
    with doors.connect("validate") as conn, doors.connect("run") as outcomes_conn:
        outcomes = Outcomes(outcomes_conn, run, step="validate")
        judged = validate_run(
            conn,
            partner=run.partner,
            run_key=run.run_key,
            organizations=organizations,
            entities=entities,
            cp932_partners=cp932_partners,
            docs_folder=docs_folder,
        )
        for quality in judged:
            outcomes.judged(quality)


def ask_for_validation(doors: Doors, run: RunName, *, organizations: Sequence[str], entities: Sequence[Entity]) -> None:
    """Leave the slices of these organizations to the shared validation, which answers in quality.due."""
    due = Due(
        partner=run.partner, run_key=run.run_key, dag=run.dag, organizations=organizations, entities=list(entities)
    )
    with doors.connect("validate") as conn:
        ask(conn, due)


def validated_elsewhere(doors: Doors, run: RunName) -> bool:
    """Whether the shared validation is done with a run.

    Raises SharedValidationError with the code of what stopped it there, DatabaseAwayError.
    """
    with doors.connect("validate") as conn:
        answer = answer_of(conn, partner=run.partner, run_key=run.run_key)
    if answer is not None and answer.state == "failed":
        raise SharedValidationError(partner=run.partner, code=answer.code)
    return answer is not None and answer.state == "done"


def give_up_waiting(doors: Doors, run: RunName) -> bool:
    """Leave the shared validation; False when it was done at the last moment."""
    with doors.connect("validate") as conn:
        return give_up(conn, partner=run.partner, run_key=run.run_key)
