"""Schedules: a partner file's cron text in Asia/Tokyo, without the traps that a date can be for whoever starts a run.

- A run that a person starts with a date in the future would stay running without a task until then, and keep others
  from starting: it is refused at once, in the form and in Airflow's API.
- A backfill of pushes is over weeks: one run for each week that has a day in the range. Its runs stand for the weeks'
  Mondays, never for a moment of the schedule, whose run means another week.
- A backfill of old weeks must not look like a schedule that has missed its last moment.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.simple import NullTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from pendulum import DateTime, instance

from partner_sync.weeks import TOKYO, Week

#: A browser's clock may be a little fast; the form fills in its 'now'.
_CLOCKS_APART = timedelta(minutes=15)
#: A backfill's run stands for the first Monday's second of its week that no cron text can name.
_APART_FROM_SCHEDULES = timedelta(seconds=1)
_NO_TIME = timedelta()
#: For so long a scheduler may be away at a moment of the schedule that only a backfill's run stands before: nobody can
#: tell whether that moment was missed, or is from before the DAG was switched on.
_SCHEDULER_AWAY = timedelta(minutes=15)


class ByHand(NullTimetable):
    """No schedule: runs are started by people, or by other DAGs."""

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        refuse_future(run_after)
        return super().infer_manual_data_interval(run_after=run_after)


class PartnerCron(CronTriggerTimetable):
    """A cron text; a run stands for the moment at which it starts. Switched on, it waits for its next moment.

    :param cron: five fields, in the zone.
    """

    def __init__(
        self,
        cron: str,
        *,
        timezone: Any = TOKYO.key,
        interval: Any = _NO_TIME,
        run_immediately: bool | timedelta = _NO_TIME,
    ) -> None:
        super().__init__(cron, timezone=timezone, interval=interval, run_immediately=run_immediately)

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        refuse_future(run_after)
        return super().infer_manual_data_interval(run_after=run_after)


class WeeklyCron(PartnerCron):
    """The schedule of pushes: each moment sends the coming week, and a backfill goes over weeks."""

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        # None of our DAGs catches up: only a backfill asks this way, for all of its range.
        if restriction.catchup:
            return _week_of_backfill(last_automated_data_interval, restriction)
        last = last_automated_data_interval
        if last is not None and self._is_old_backfill(last):
            last = None
        return super().next_dagrun_info(last_automated_data_interval=last, restriction=restriction)

    def _is_old_backfill(self, interval: DataInterval) -> bool:
        """Whether the last run was a backfill's, and the schedule's moment after it is over for good."""
        by_backfill = interval.start.second == _APART_FROM_SCHEDULES.seconds
        return by_backfill and self._get_next(interval.end) < datetime.now(UTC) - _SCHEDULER_AWAY


def _week_of_backfill(before: DataInterval | None, restriction: TimeRestriction) -> DagRunInfo | None:
    if restriction.earliest is None:
        return None
    week = Week.of(before.start).next() if before else Week.of(restriction.earliest)
    if restriction.latest is not None and week.start_at > restriction.latest:
        return None
    return DagRunInfo.exact(instance(week.start_at + _APART_FROM_SCHEDULES))


def refuse_future(moment: datetime) -> None:
    """Raise ValueError, which Airflow's API answers as a bad request, for a date that a run would wait for."""
    if moment > datetime.now(UTC) + _CLOCKS_APART:
        msg = (
            f"The logical date {moment.isoformat()} is in the future, and the run would stand still until then."
            " Leave it empty; the form says what is meant."
            " / 論理日時が未来です。空欄のままにして、入力欄で対象を指定してください。"
        )
        raise ValueError(msg)
