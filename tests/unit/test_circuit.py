"""What a gate tells the circuits, and when: each failure at once, what gets through only now and then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partner_sync.circuit import TELL_EVERY_SECONDS, Calls, Tally


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_told_before_there_was_a_call() -> None:
    assert Tally().take() is None


def test_the_first_call_that_gets_through_is_told_and_further_ones_after_a_while() -> None:
    clock = Clock()
    tally = Tally(clock=clock)
    tally.note(reached=True)
    assert tally.take() == Calls(reached=1)
    tally.note(reached=True)
    assert tally.take() is None
    tally.note(reached=True)
    clock.now += TELL_EVERY_SECONDS
    assert tally.take() == Calls(reached=2)


def test_each_failure_is_told_at_once_and_so_is_the_first_call_that_gets_through_after_it() -> None:
    tally = Tally(clock=Clock())
    for reached in (True, False, True):
        tally.note(reached=reached)
        assert tally.take() == (Calls(reached=1) if reached else Calls(failed=1))


def test_failures_before_a_call_that_gets_through_are_past() -> None:
    tally = Tally(clock=Clock())
    for reached in (False, False, True, False):
        tally.note(reached=reached)
    assert tally.take() == Calls(reached=1, failed=1)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 10))))
def test_whatever_is_told_when_the_failures_in_a_row_are_never_lost(story: list[tuple[bool, bool, float]]) -> None:
    """The receiver counts like sync.report_calls: what got through first, then the failures after it."""
    clock = Clock()
    tally = Tally(clock=clock)
    in_a_row = told_in_a_row = 0
    for reached, take, passed in story:
        tally.note(reached=reached)
        in_a_row = 0 if reached else in_a_row + 1
        clock.now += passed
        if take and (calls := tally.take()) is not None:
            told_in_a_row = calls.failed if calls.reached else told_in_a_row + calls.failed
    clock.now += TELL_EVERY_SECONDS
    if (calls := tally.take()) is not None:
        told_in_a_row = calls.failed if calls.reached else told_in_a_row + calls.failed
    assert told_in_a_row == in_a_row
