"""Retry-After in seconds and as a date, always bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.http.retry_after import LONGEST_SECONDS, retry_at

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@given(st.integers(min_value=0, max_value=LONGEST_SECONDS))
def test_seconds_are_counted_from_now(seconds: int) -> None:
    assert retry_at(str(seconds), NOW) == NOW + timedelta(seconds=seconds)


@given(st.integers(min_value=-86_400, max_value=LONGEST_SECONDS))
def test_a_date_is_that_moment_and_a_past_one_is_now(seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    assert retry_at(format_datetime(moment, usegmt=True), NOW) == max(moment, NOW)


@pytest.mark.parametrize("text", ["1764000000", "1764000000000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_wait_is_cut_to_an_hour(text: str) -> None:
    assert retry_at(text, NOW) == NOW + timedelta(seconds=LONGEST_SECONDS)


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "٣", "Mon, 99 Foo 2026", "2026-11-23T09:00:00Z"])
def test_what_cannot_be_read_says_nothing(text: str | None) -> None:
    assert retry_at(text, NOW) is None


@given(st.text(max_size=60))
def test_any_text_gives_a_bounded_aware_time_or_nothing(text: str) -> None:
    moment = retry_at(text, NOW)
    assert moment is None or NOW <= moment <= NOW + timedelta(seconds=LONGEST_SECONDS)
