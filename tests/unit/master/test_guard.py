"""The guard of a merge: what it holds, how far a yes carries, and which holds are one cause."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.master.guard import Guard, Held, a_tenth_more, cause_of
from partner_sync.quality.suites import load_suite

FIGURES = st.builds(
    Held,
    mode=st.just("full"),
    live=st.integers(0, 1000),
    changed=st.integers(0, 1000),
    removed=st.integers(0, 1000),
    fewer=st.integers(0, 1000),
    more=st.integers(0, 1000),
    with_visits=st.integers(0, 20),
)


def would(**figures: Any) -> Held:
    return Held(**{"mode": "full", "live": 100, "changed": 0, "removed": 0} | figures)


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"changed": 50, "removed": 20}, ()),
        ({"changed": 51}, ("changed",)),
        ({"removed": 21}, ("removed",)),
        ({"fewer": 1}, ("records",)),
        ({"more": 1}, ("records",)),
        ({"removed": 1, "with_visits": 1}, ("visits",)),
        ({"changed": 99, "removed": 99, "fewer": 9, "with_visits": 1}, ("changed", "removed", "records", "visits")),
    ],
)
def test_each_unusual_figure_is_a_reason(figures: dict[str, int], why: tuple[str, ...]) -> None:
    assert Guard().reasons(would(**figures)) == why


@given(FIGURES, st.integers(0, 10))
def test_a_yes_carries_a_tenth_more_than_what_was_shown_and_no_further(shown: Held, more: int) -> None:
    guard = Guard(
        changed_share=0, removed_share=0, minimum_rows=0, approved_changed=a_tenth_more(shown.to_change),
        approved_removed=a_tenth_more(shown.to_remove), approved_visits=a_tenth_more(shown.with_visits),
    )  # fmt: skip
    assert guard.reasons(shown) == ()
    grown = would(changed=shown.to_change + more, removed=shown.to_remove, with_visits=shown.with_visits)
    assert (guard.reasons(grown) == ()) == (10 * grown.changed <= 11 * shown.to_change)
    assert (guard.reasons(grown) == ()) == grown.is_covered_by(shown)


def test_a_yes_to_removals_is_none_to_a_patient_with_visits_who_was_not_shown() -> None:
    shown = would(removed=30)
    guard = Guard(approved_removed=33, approved_visits=a_tenth_more(shown.with_visits))
    assert guard.reasons(would(removed=30, with_visits=1)) == ("visits",)
    assert not would(removed=30, with_visits=1).is_covered_by(shown)


def test_figures_typed_by_a_person_are_for_patients_with_visits_too() -> None:
    assert Guard(approved_removed=30).reasons(would(removed=30, with_visits=2)) == ()


def test_what_is_held_again_and_again_is_one_cause_until_it_has_grown_by_more_than_a_tenth() -> None:
    holds = [(f"r{n}", would(removed=removed)) for n, removed in enumerate((100, 100, 90, 110, 111, 115, 122, 123))]
    assert [cause_of(holds[: n + 1]) for n in range(8)] == ["r0", "r0", "r0", "r0", "r4", "r4", "r4", "r7"]


@given(FIGURES)
def test_figures_come_back_from_json_as_they_were(held: Held) -> None:
    assert Held.from_json(held.as_json()) == held


def test_the_expectation_that_the_guard_reads_stands_in_the_suite() -> None:
    from partner_sync.master.guard import UNUSUAL_RECORDS

    assert UNUSUAL_RECORDS in {rule.code for rule in load_suite("slice").rules}
