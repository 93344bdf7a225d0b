"""Our schedules, asked as Airflow's scheduler, API and backfill ask them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.weeks import TOKYO, Week
from partner_sync_airflow.timetables import ByHand, PartnerCron, WeeklyCron

FRIDAY = "0 18 * * FRI"


def at(moment):
    return pendulum.instance(moment)


def weeks_between(from_at, to_at, timetable=None):
    """The runs of a backfill, as Airflow collects them."""
    timetable = timetable or WeeklyCron(FRIDAY)
    restriction = TimeRestriction(at(from_at), at(to_at), catchup=True)
    found, last = [], None
    while info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction):
        found.append(info)
        last = info.data_interval
    return found


def next_run(timetable, last=None):
    interval = DataInterval.exact(at(last)) if last else None
    return timetable.next_dagrun_info(
        last_automated_data_interval=interval, restriction=TimeRestriction(None, None, catchup=False)
    ).logical_date


@pytest.mark.parametrize("timetable", [ByHand(), PartnerCron(FRIDAY), WeeklyCron(FRIDAY)])
def test_a_run_by_hand_with_a_date_in_the_future_is_refused(timetable):
    with pytest.raises(ValueError, match="未来"):
        timetable.infer_manual_data_interval(run_after=at(datetime.now(UTC) + timedelta(hours=1)))
    for moment in (datetime.now(UTC) + timedelta(minutes=5), datetime(2015, 1, 1, tzinfo=UTC)):
        assert timetable.infer_manual_data_interval(run_after=at(moment)) is not None


@pytest.mark.parametrize("timetable", [ByHand(), PartnerCron("*/15 * * * *"), WeeklyCron(FRIDAY)])
def test_airflow_reads_it_back_as_it_was(timetable):
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    back = decode_timetable(encode_timetable(timetable))
    assert (type(back), back.serialize()) == (type(timetable), timetable.serialize())


@given(
    st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - made aware below
    st.timedeltas(timedelta(), timedelta(days=60)),
)
def test_a_backfill_has_one_run_for_each_week_with_a_day_in_its_range(start, length):
    from_at, to_at = start.replace(tzinfo=UTC), (start + length).replace(tzinfo=UTC)
    weeks = [Week.of(info.logical_date) for info in weeks_between(from_at, to_at)]
    days = {Week.of(from_at + timedelta(days=n)) for n in range(length.days + 1)} | {Week.of(to_at)}
    assert weeks == sorted(days)


@pytest.mark.parametrize("cron", [FRIDAY, "0 0 * * MON", "* * * * *"])
def test_a_backfills_run_never_stands_for_a_moment_of_the_schedule(cron):
    [info] = weeks_between(datetime(2020, 12, 30, tzinfo=TOKYO), datetime(2020, 12, 30, tzinfo=TOKYO), WeeklyCron(cron))
    assert info.logical_date == datetime(2020, 12, 28, 0, 0, 1, tzinfo=TOKYO)
    assert info.run_after == info.logical_date


def test_switched_on_it_waits_for_its_next_moment():
    assert next_run(WeeklyCron(FRIDAY)) > datetime.now(UTC)


def test_a_backfill_of_old_weeks_does_not_start_the_schedule_for_a_moment_that_is_over():
    assert next_run(WeeklyCron(FRIDAY), datetime(2020, 12, 28, 0, 0, 1, tzinfo=TOKYO)) > datetime.now(UTC)


def hours_ago(hours):
    """A weekly schedule whose last moment was so many hours ago, and the backfill's run of that moment's week."""
    moment = datetime.now(TOKYO) - timedelta(hours=hours)
    cron = WeeklyCron(f"{moment.minute} {moment.hour} * * {moment:%a}")
    [run] = weeks_between(moment, moment, cron)
    return cron, run.logical_date


@pytest.mark.parametrize("hours", [1, 23, 100])
def test_a_backfill_of_the_present_week_does_not_start_the_schedule_for_a_moment_before_it(hours):
    cron, backfilled = hours_ago(hours)
    assert next_run(cron, backfilled) > datetime.now(UTC)


def test_a_moment_that_a_restarted_scheduler_has_just_missed_is_made_up_for_also_after_a_backfill():
    cron, backfilled = hours_ago(0.1)
    assert timedelta() <= datetime.now(UTC) - next_run(cron, backfilled) < timedelta(minutes=8)


def test_a_moment_that_airflow_has_missed_is_made_up_for():
    late = next_run(WeeklyCron(FRIDAY), datetime.now(UTC).replace(second=0) - timedelta(days=30))
    assert timedelta() <= datetime.now(UTC) - late < timedelta(days=7)
