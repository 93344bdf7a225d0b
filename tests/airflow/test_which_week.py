"""Which week a run of schedule_push means (platform: a manual run's dates say 'now' or nothing)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.errors import InvalidWeekError
from partner_sync.weeks import TOKYO, Week
from partner_sync_airflow.which_week import WeekGivenTwiceError, WeekNotGivenError, week_of_run

FRIDAY_EVENING = datetime(2026, 11, 20, 18, tzinfo=TOKYO)


@dataclass
class Run:
    """As much of a DAG run as decides which week is meant."""

    run_type: str
    logical_date: datetime | None = FRIDAY_EVENING
    run_after: datetime = FRIDAY_EVENING


def test_a_run_by_hand_means_the_week_of_the_day_in_the_form():
    assert str(week_of_run(Run("manual"), given="2026-11-26")) == "2026-11-23"


@pytest.mark.parametrize("run_type", ["manual", "operator_triggered", "asset_triggered"])
@pytest.mark.parametrize("logical_date", [None, FRIDAY_EVENING])
def test_a_run_by_hand_without_a_week_is_refused_whatever_its_dates_say(run_type, logical_date):
    with pytest.raises(WeekNotGivenError, match="YYYY-MM-DD"):
        week_of_run(Run(run_type, logical_date), given=None)


def test_a_day_that_is_none_is_refused():
    with pytest.raises(InvalidWeekError):
        week_of_run(Run("manual"), given="week 48")


def test_a_scheduled_run_means_the_coming_week():
    assert str(week_of_run(Run("scheduled"), given=None)) == "2026-11-23"


@pytest.mark.parametrize("moment", [FRIDAY_EVENING, datetime(2026, 11, 16, 0, 0, 1, tzinfo=TOKYO)])
def test_a_backfills_run_means_the_week_that_its_date_lies_in(moment):
    assert str(week_of_run(Run("backfill", moment), given=None)) == "2026-11-16"


def test_a_scheduled_run_that_starts_days_late_still_means_the_week_it_was_for():
    late = Run("scheduled", FRIDAY_EVENING, FRIDAY_EVENING + timedelta(days=4))
    assert str(week_of_run(late, given=None)) == "2026-11-23"


def test_the_coming_week_is_counted_in_tokyo():
    sunday_in_utc = datetime(2026, 11, 22, 15, tzinfo=UTC)  # Monday 00:00 in Tokyo
    assert str(week_of_run(Run("scheduled", sunday_in_utc), given=None)) == "2026-11-30"


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_week_in_the_form_of_a_backfill_is_refused_because_each_of_its_runs_would_send_it(run_type):
    with pytest.raises(WeekGivenTwiceError):
        week_of_run(Run(run_type), given="2026-11-26")


@given(st.datetimes(datetime(2021, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001 - made aware below
def test_the_coming_week_begins_after_the_moment_and_within_seven_days(moment):
    at = moment.replace(tzinfo=TOKYO)
    week = week_of_run(Run("scheduled", at), given=None)
    assert timedelta(0) < week.start_at - at <= timedelta(days=7)
    assert week == Week.of(at).next()
