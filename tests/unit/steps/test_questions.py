"""Which held merges a run asks about when there are many."""

from __future__ import annotations

from partner_sync.master.guard import Held
from partner_sync.steps.merge import MOST_QUESTIONS, HeldMerge, chosen_to_ask

HELD = Held(mode="full", live=1, changed=1, removed=0)
MANY = [HeldMerge(organization=f"o{n}", entity="patient", cause="r1", held=HELD) for n in range(3 * MOST_QUESTIONS)]


def test_few_are_all_asked_about() -> None:
    assert set(chosen_to_ask(MANY[:MOST_QUESTIONS], run_key="r1")) == set(MANY[:MOST_QUESTIONS])


def test_a_run_that_is_tried_again_asks_about_the_same() -> None:
    assert chosen_to_ask(MANY, run_key="r1") == chosen_to_ask(MANY, run_key="r1")
    assert len(chosen_to_ask(MANY, run_key="r1")) == MOST_QUESTIONS


def test_after_some_runs_all_were_asked_about() -> None:
    asked = {each for n in range(40) for each in chosen_to_ask(MANY, run_key=f"r{n}")}
    assert asked == set(MANY)
