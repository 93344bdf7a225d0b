"""Judging what was read: in the sync's own task, or by ``validate_due`` for all partners that share it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync.errors import DatabaseAwayError, PartnerSyncError, ValidationOverdueError
from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.operators.base import PartnerSyncOperator, doors, run_name, told_of
from partner_sync_airflow.operators.master import partner_and_form, resolved
from partner_sync_airflow.partner_files import cp932_partners, data_docs_folder
from partner_sync_airflow.run_notes import write_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from partner_sync.partners.fields import Entity
    from partner_sync.quality.shared import Due
    from partner_sync.steps.outcomes import RunName

#: How long a run waits for the shared validation. It comes each minute; a night's syncs of 200 partners are judged in
#: ten minutes.
SHARED_WITHIN = timedelta(minutes=30)


def judge(run: RunName, *, organizations: Sequence[str], entities: Sequence[Entity]) -> None:
    """Judge a run's slices in this process; raises what ``validate_organizations`` raises."""
    from partner_sync.steps.validate import validate_organizations

    validate_organizations(
        doors(),
        run,
        organizations=organizations,
        entities=entities,
        cp932_partners=cp932_partners(),
        docs_folder=data_docs_folder(),
    )


class ValidateOperator(PartnerSyncOperator):
    """Judges everything that this run has read, in one task: the library alone costs seconds to import.

    Where the partner file says ``validation: shared`` the task only asks, and waits without a worker.
    """

    def work(self, context: Context) -> None:
        from partner_sync.steps.validate import ask_for_validation

        partner, form = partner_and_form(self, context)
        run, organizations = run_name(context), resolved(context)
        if partner.master is None or partner.master.validation == "own":
            judge(run, organizations=organizations, entities=form.entities)
        else:
            ask_for_validation(doors(), run, organizations=organizations, entities=form.entities)
            self._wait(context, until_at=datetime.now(UTC) + SHARED_WITHIN)

    def resume(self, context: Context, event: Any = None, *, until_at: str) -> None:
        """Go on when the slices were judged; what stopped their judgement stops this task."""
        from partner_sync.steps.validate import give_up_waiting, validated_elsewhere

        with CutChain():
            run, last_moment = run_name(context), datetime.fromisoformat(until_at)
            if validated_elsewhere(doors(), run):
                return
            if datetime.now(UTC) < last_moment:
                self._wait(context, until_at=last_moment)
            if give_up_waiting(doors(), run) or not validated_elsewhere(doors(), run):
                minutes = int(SHARED_WITHIN.total_seconds() / 60)
                raise ValidationOverdueError(partner=self.partner, minutes=minutes)

    def _wait(self, context: Context, *, until_at: datetime) -> NoReturn:
        """Give the worker back; the log and the run's note say what is waited for, and until when."""
        from partner_sync.steps.organizations import Waiting
        from partner_sync_airflow.triggers import ValidationTrigger

        organizations = tuple(resolved(context))
        waiting = Waiting(organizations=organizations, retry_at=until_at, code=ValidationOverdueError.code)
        japanese, english = told_of(waiting)
        self.log.info("%s: %s", self.partner, english)
        write_note(context, f"{japanese}\n{english}")
        trigger = ValidationTrigger(
            partner=self.partner,
            run_key=run_name(context).run_key,
            until_at=until_at,
            waits_for=f"{self.partner}: {english}",
        )
        self.defer(trigger=trigger, method_name="resume", kwargs={"until_at": until_at.isoformat()})


class ValidateDueOperator(BaseOperator):
    """Judges the slices of all runs that wait, in one process. A run that cannot be judged stops alone."""

    ui_color = "#e8f2ee"

    def execute(self, context: Context) -> list[str]:
        """Returns the partners whose runs were judged."""
        from partner_sync.quality.shared import anything_due, judge_due

        with CutChain(), doors().connect("validate") as conn:
            if not anything_due(conn):
                raise AirflowSkipException("Nothing is due.")
            judged = []
            for due, code in judge_due(conn, self._judge):
                self.log.info("%s, %s: %s", due.partner, due.run_key, code or "judged")
                judged.append(due.partner)
            return judged

    def _judge(self, due: Due) -> str | None:
        """The code of what stopped the judgement, which the waiting run then ends with; None when it was done."""
        from partner_sync.steps.outcomes import RunName

        run = RunName(partner=due.partner, run_key=due.run_key, dag=due.dag)
        try:
            with CutChain():
                judge(run, organizations=due.organizations, entities=due.entities)
        except DatabaseAwayError:
            # No matter of this run: the next one would meet it too, and the next tick begins again.
            raise
        except PartnerSyncError as error:
            self.log.error("%s, %s: %s", due.partner, due.run_key, error)
            return error.code
        return None
