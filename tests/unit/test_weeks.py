"""Weeks are Monday to Sunday in Asia/Tokyo, named by their Monday."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.errors import InvalidWeekError
from partner_sync.weeks import TOKYO, Week

# Japan's clocks were put forward in the summers of 1948 to 1951: those weeks were an hour longer or shorter.
DAYS = st.dates(min_value=date(1952, 1, 1), max_value=date(2199, 12, 1))
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds


@given(DAYS)
def test_every_day_lies_in_exactly_one_week(day: date) -> None:
    week = Week.containing(day)
    assert week.monday <= day <= week.sunday
    assert Week.containing(week.sunday) == week
    assert Week.containing(week.sunday + timedelta(days=1)) == week.next()


@given(MOMENTS)
def test_a_moment_lies_between_the_start_and_the_end_of_its_week(moment: datetime) -> None:
    week = Week.of(moment)
    assert week.start_at <= moment < week.end_at


@given(DAYS)
def test_a_week_written_and_read_again_is_the_same(day: date) -> None:
    assert Week.parse(str(Week.containing(day))) == Week.containing(day)


@given(DAYS)
def test_weeks_follow_each_other_without_a_gap(day: date) -> None:
    week = Week.containing(day)
    assert week.next().previous() == week
    assert week.end_at == week.next().start_at
    assert week.end_at - week.start_at == timedelta(days=7)


def test_sunday_evening_in_tokyo_is_still_the_old_week_and_monday_begins_there_first() -> None:
    assert Week.of(datetime(2026, 11, 29, 23, 59, tzinfo=TOKYO)) == Week(date(2026, 11, 23))
    assert Week.of(datetime(2026, 11, 29, 15, 0, tzinfo=UTC)) == Week(date(2026, 11, 30))


def test_the_week_over_a_years_end_is_named_by_its_monday() -> None:
    assert Week.parse("2027-01-01").monday == date(2026, 12, 28)


@pytest.mark.parametrize("text", ["", "next week", "2026-02-30", "2026/11/23", "20261123x", "2026-W48", "9999-99-99"])
def test_what_is_no_day_is_refused_with_a_clear_error(text: str) -> None:
    with pytest.raises(InvalidWeekError, match="YYYY-MM-DD"):
        Week.parse(text)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidWeekError):
        Week.of(datetime(2026, 11, 23))  # noqa: DTZ001  # naive on purpose


def test_a_week_does_not_begin_on_a_tuesday() -> None:
    with pytest.raises(InvalidWeekError):
        Week(date(2026, 11, 24))


def test_a_week_is_told_in_plain_words() -> None:
    week = Week.parse("2026-11-25")
    assert week.describe() == "Mon 2026-11-23 to Sun 2026-11-29 (week 48 of 2026, Asia/Tokyo)"
    assert week.describe("ja") == "2026年11月23日(月)から2026年11月29日(日)まで(2026年第48週)"


def test_what_is_no_date_at_all_is_not_repeated() -> None:
    with pytest.raises(InvalidWeekError) as refused:
        Week.parse("山田 花子")
    assert "山田" not in str(refused.value)
    with pytest.raises(InvalidWeekError, match="2026-11-31"):
        Week.parse("2026-11-31")
