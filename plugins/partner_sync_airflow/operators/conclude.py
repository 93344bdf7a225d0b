"""The last task of a run: it turns the run red when something failed, and writes the run's note (design, rule 9)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError
from partner_sync_airflow.causes import OrganizationsStoppedError, StepsFailedError
from partner_sync_airflow.notifications import notifier_of
from partner_sync_airflow.operators.base import PartnerSyncOperator, doors, run_key
from partner_sync_airflow.partner_files import partner_named
from partner_sync_airflow.run_notes import LONGEST_NOTE, shortened, write_note
from partner_sync_airflow.which_week import head_of_note

if TYPE_CHECKING:
    from partner_sync.incidents import Cause, Stage
    from partner_sync.runs import Conclusion

#: Half of what a note may have, but for the lines that name the week and failed steps.
_NOTE_IN_ONE_LANGUAGE = (LONGEST_NOTE - 200) // 2
_log = logging.getLogger("airflow.task.operators.partner_sync")
_FAILED = frozenset({"failed", "upstream_failed"})


class ConcludeOperator(PartnerSyncOperator):
    """Counts what every organization came to; red when one failed. Never tried again: it would say the same."""

    ui_color = "#dfe6f3"

    def __init__(self, *, partner: str, **kwargs: Any) -> None:
        super().__init__(partner=partner, **{"trigger_rule": TriggerRule.ALL_DONE, "retries": 0} | kwargs)

    def work(self, context: Context) -> None:
        states = self._states(context)
        if all(states.get(step, {"skipped"}) == {"skipped"} for step in self.upstream_task_ids or states):
            raise AirflowSkipException("Nothing was to be done; the first task says why.")
        failed = [step for step, said in states.items() if said & _FAILED]
        conclude_run(
            context,
            partner=self.partner,
            steps_done=[step for step, said in states.items() if said == {"success"}],
            steps_failed=failed,
        )
        if failed:
            raise StepsFailedError(partner=self.partner, steps=", ".join(failed))

    def _states(self, context: Context) -> dict[str, set[str]]:
        """The states of the tasks before this one, in their order; a mapped task has one for each index."""
        ti = context["ti"]
        found = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        states: dict[str, set[str]] = {}
        for task in context["dag"].topological_sort():
            mine = {str(getattr(state, "value", state)) for name, state in found.items() if _is_of(task.task_id, name)}
            if task.task_id != ti.task_id and mine:
                states[task.task_id] = mine
        return states


def conclude_run(
    context: Context,
    *,
    partner: str,
    steps_done: Iterable[str],
    steps_failed: Iterable[str] = (),
    only_new_causes: bool = False,
) -> None:
    """Open and close causes, write the note; raises OrganizationsStoppedError when the run must be red.

    ``only_new_causes``: a tick is red for what nobody knew, not while a known cause lasts.
    """
    from partner_sync.delivery.answers import parked_lines
    from partner_sync.delivery.failures import failed_lines
    from partner_sync.runs import conclude

    key = run_key(context)
    with doors().connect("run") as conn:
        found = conclude(conn, partner=partner, run_key=key, steps_done=steps_done)
        codes = list(found.organizations)
        visits = list(failed_lines(conn, partner=partner, run_key=key, organizations=codes))
        visits += parked_lines(conn, partner=partner, organizations=codes)
    stopped_steps = [f"{step}: failed / 失敗" for step in steps_failed]
    longest = _NOTE_IN_ONE_LANGUAGE - sum(len(line) + 1 for line in visits) // 2
    notes = [shortened(note, longest=longest) for note in (found.note_ja, found.note_en)]
    if found.organizations or not stopped_steps:
        # Otherwise the first task has refused the run, and its note says why.
        write_note(context, "\n".join([*head_of_note(context), *stopped_steps, *visits, *notes]))
    _log.info("%s\n%s", found.note_ja, found.note_en)
    _tell(context, found)
    if context["dag"].dag_id == f"{partner}__master_sync":
        tell_findings(context, partner=partner)
    causes = found.new_causes if only_new_causes else (*found.new_causes, *found.known_causes)
    if causes:
        stopped = sorted({code for cause in causes for code in cause.organizations if code})
        raise OrganizationsStoppedError(
            partner=partner, count=len(stopped), organizations=", ".join(stopped), causes=causes
        )


def _tell(context: Context, found: Conclusion) -> None:
    """What a red run does not tell: notices, what lasts, and what is over."""
    news: dict[Stage, tuple[Cause, ...]] = {
        "met": found.notices,
        "lasting": found.escalated,
        "over": found.closed_causes,
    }
    for stage, causes in news.items():
        if causes:
            notifier_of(partner_named(found.partner)).tell(context, causes, stage=stage)


def tell_findings(context: Context, *, partner: str) -> None:
    """The digest of findings that opened and that are over; a database that is away leaves them to the next run."""
    from partner_sync.quality.digest import claim_digest

    try:
        with doors().connect("run") as conn:
            digest = claim_digest(conn, partner=partner)
    except (DatabaseAwayError, DatabaseRefusedError) as error:
        _log.warning("What is new of the data's quality was not told: %s", error)
        return
    notifier_of(partner_named(partner)).tell_findings(context, digest)


def _is_of(task_id: str, name: str) -> bool:
    rest = name.removeprefix(task_id)
    return name.startswith(task_id) and (not rest or (rest[0] == "_" and rest[1:].isdigit()))
