"""The judge's own counting, against the definition of each kind of limit."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.allowances import Allowed, allowance, window_start

START = 1_795_446_000.0
gaps = st.lists(st.integers(0, 40), min_size=1, max_size=60)


def allowed_times(limit: Allowed, gaps: list[int]) -> list[float]:
    """When calls were allowed that arrive so many tenths of a second apart."""
    state, at, allowed = allowance(limit), START, []
    for gap in gaps:
        at += gap / 8
        if state.wait_seconds(at) == 0.0:
            state.count(at)
            allowed.append(at)
    return allowed


@given(gaps)
def test_no_sliding_window_holds_more_than_is_allowed(gaps: list[int]) -> None:
    times = allowed_times(Allowed(scope="vendor", requests=3, per_seconds=2), gaps)
    assert all(sum(begin <= at < begin + 2 for at in times) <= 3 for begin in times)


@given(gaps)
def test_no_fixed_window_holds_more_than_is_allowed(gaps: list[int]) -> None:
    limit = Allowed(scope="vendor", requests=3, per_seconds=2, counts="fixed_window", anchor="00:01")
    times = allowed_times(limit, gaps)
    windows = [window_start(limit, at) for at in times]
    assert all(windows.count(window) <= 3 for window in windows)


@given(gaps)
def test_a_bucket_lets_through_its_size_and_what_fills_it(gaps: list[int]) -> None:
    times = allowed_times(Allowed(scope="vendor", requests=2, counts="token_bucket", burst=3), gaps)
    for first, begin in enumerate(times):
        for count, end in enumerate(times[first:], start=1):
            assert count <= 3 + 2 * (end - begin) + 1e-6


@given(gaps)
def test_spaced_calls_keep_their_distance(gaps: list[int]) -> None:
    times = allowed_times(Allowed(scope="vendor", requests=2, counts="spaced"), gaps)
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))


@pytest.mark.parametrize("counts", ["sliding_window", "fixed_window", "token_bucket", "spaced"])
@given(gaps=gaps)
def test_who_waits_as_long_as_told_is_let_in(counts: str, gaps: list[int]) -> None:
    state, at = allowance(Allowed(scope="vendor", requests=2, per_seconds=2, counts=counts)), START
    for gap in gaps:
        at += gap / 8
        at += state.wait_seconds(at)
        assert state.wait_seconds(at) == pytest.approx(0.0, abs=1e-6)
        state.count(at)


def test_in_flight_counts_what_is_being_worked_on() -> None:
    state = allowance(Allowed(scope="vendor", requests=1, counts="in_flight"))
    state.count(START)
    assert state.left(START) == 0
    state.ended()
    assert state.wait_seconds(START) == 0.0


def test_windows_begin_at_the_anchor_in_the_partners_zone() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    limit = Allowed(
        scope="vendor", requests=1, per_seconds=600, counts="fixed_window", zone="Asia/Tokyo", anchor="00:07"
    )
    at = datetime(2026, 11, 23, 0, 6, 59, tzinfo=tokyo).timestamp()
    assert window_start(limit, at) == datetime(2026, 11, 22, 23, 57, tzinfo=tokyo).timestamp()
    assert window_start(limit, at + 1) == datetime(2026, 11, 23, 0, 7, tzinfo=tokyo).timestamp()
