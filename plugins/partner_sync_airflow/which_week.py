"""Which week a push or a comparison means. The right one, or a clear refusal; never a guess.

A run that a person (or another DAG) starts says its week in the form: Airflow fills in 'now' or nothing for its dates,
and either would be the wrong week without a word. A scheduled run means the week after the moment that it stands for;
a backfill is over a range of weeks, and each of its runs means the week that its date lies in.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from airflow.sdk.definitions.context import Context

from partner_sync.errors import InvalidWeekError
from partner_sync.weeks import Week
from partner_sync_airflow.dag_runs import run_type

_BY_ITSELF = frozenset({"scheduled", "backfill"})


class WeekNotGivenError(InvalidWeekError):
    """A person started a push or a comparison without a week."""

    code = "week_invalid"
    template = "No week was given. Start the run again and write any day of the week that is meant, as YYYY-MM-DD."


class WeekGivenTwiceError(InvalidWeekError):
    """A schedule or a backfill was also given a week, and every one of its runs would send that one."""

    code = "week_invalid"
    template = "A {run_type} run takes its week from its date; start a run by hand to send the week of {value}."


class RunDates(Protocol):
    """What of a DAG run says which week it means."""

    run_type: Any
    logical_date: datetime | None
    run_after: datetime


def starts_by_itself(run: RunDates) -> bool:
    """Whether a schedule or a backfill started the run, and not somebody with a form."""
    return run_type(run) in _BY_ITSELF


def week_of_run(run: RunDates, *, given: str | None) -> Week:
    """The week of a run; ``given`` is the form's day. Raises InvalidWeekError or one of the kinds above."""
    if starts_by_itself(run):
        if given is not None:
            raise WeekGivenTwiceError(run_type=run_type(run), value=given)
        week = Week.of(run.logical_date or run.run_after)
        return week if run_type(run) == "backfill" else week.next()
    if given is None:
        raise WeekNotGivenError()
    return Week.parse(given)


def week_of(context: Context) -> Week:
    """The week that a task's run means; raises what ``week_of_run`` raises."""
    return week_of_run(context["dag_run"], given=context["params"]["week"] or None)


def head_of_note(context: Context) -> list[str]:
    """The lines with which every note of a push or a comparison begins: its week. None for other runs."""
    if "week" not in context["params"]:
        return []
    try:
        week = week_of(context)
    except InvalidWeekError:
        return []
    return [week.describe("ja"), week.describe()]
