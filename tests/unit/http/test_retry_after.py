"""Retry-After in seconds and as a date, always bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.http.moments import Clock, clock_of
from partner_sync.http.retry_after import LONGEST_SECONDS, SHORTEST_SECONDS, retry_at

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLOCK = Clock(now=NOW)


@given(st.integers(min_value=SHORTEST_SECONDS, max_value=LONGEST_SECONDS))
def test_seconds_are_counted_from_now(seconds: int) -> None:
    assert retry_at(str(seconds), CLOCK) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["Mon, 23 Nov 2026 09:02:00 GMT", "Monday, 23-Nov-26 09:02:00 GMT", "Mon Nov 23 09:02:00 2026"]
)
def test_a_date_in_any_of_the_three_forms_is_that_moment(text: str) -> None:
    assert retry_at(text, CLOCK) == NOW + timedelta(minutes=2)


@pytest.mark.parametrize("text", ["0", "000", "Mon, 23 Nov 2026 08:59:00 GMT", "Sun Nov  6 08:49:37 1994"])
def test_nothing_to_wait_for_is_still_a_second(text: str) -> None:
    assert retry_at(text, CLOCK) == NOW + timedelta(seconds=SHORTEST_SECONDS)


@given(st.integers(min_value=SHORTEST_SECONDS, max_value=LONGEST_SECONDS), st.integers(-86_400, 86_400))
def test_a_date_is_read_by_the_clock_of_the_partner(seconds: int, ahead: int) -> None:
    theirs = NOW + timedelta(seconds=ahead)
    clock = clock_of(format_datetime(theirs, usegmt=True), NOW)
    said = format_datetime(theirs + timedelta(seconds=seconds), usegmt=True)
    assert retry_at(said, clock) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("date_field", [None, "", "now", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_partner_without_a_clock_is_taken_at_its_word(date_field: str | None) -> None:
    assert retry_at("Mon, 23 Nov 2026 09:00:30 GMT", clock_of(date_field, NOW)) == NOW + timedelta(seconds=30)


TEN_YEARS = str(10 * 365 * 86_400)
EPOCH_SECONDS, EPOCH_MILLISECONDS = "1795424400", "1795424400000"


@pytest.mark.parametrize(
    "text",
    [TEN_YEARS, EPOCH_SECONDS, EPOCH_MILLISECONDS, "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT",
     "Mon, 23 Nov 2036 09:00:00 GMT"],
)  # fmt: skip
def test_an_absurd_wait_is_cut_to_an_hour(text: str) -> None:
    assert retry_at(text, CLOCK) == NOW + timedelta(seconds=LONGEST_SECONDS)


@pytest.mark.parametrize("text", ["120, 120", "60,120", "120.0", "119.2"])
def test_a_delay_that_is_written_twice_or_with_a_fraction_is_kept(text: str) -> None:
    assert retry_at(text, CLOCK) == NOW + timedelta(seconds=120)


@pytest.mark.parametrize(
    "text", [None, "", "soon", "-5", "1.5.2", "120, soon", "٣", "Mon, 99 Foo 2026", "2026-11-23T09:00:00Z"]
)
def test_what_cannot_be_read_says_nothing(text: str | None) -> None:
    assert retry_at(text, CLOCK) is None


@given(st.text(max_size=60), st.text(max_size=40))
def test_any_text_gives_a_bounded_aware_time_or_nothing(text: str, date_field: str) -> None:
    moment = retry_at(text, clock_of(date_field, NOW))
    assert moment is None or NOW < moment <= NOW + timedelta(seconds=LONGEST_SECONDS)
