"""The words of run notes: a planner never meets a name of ours in the middle of Japanese."""

from __future__ import annotations

import re

import pytest

from partner_sync.catalogue import entry
from partner_sync.words import count_name, reason_name, step_name

#: Why a visit cannot leave, as sync.blocked_reasons says it.
BLOCKED = [
    *(f"no_key_{entity}" for entity in ("office", "patient", "practitioner")),
    *(f"{entity}_in_quarantine" for entity in ("office", "patient", "practitioner")),
    "circuit_open", "partner_held", "organization_held",
]  # fmt: skip
#: Why nothing can be said of a visit in a comparison, as sync.standing says it.
UNSETTLED = [
    "pending", "in_flight", "unknown", "parked", "blocked", "rejected", "dead", "held_back", "too_new",
]  # fmt: skip
#: Tasks of a partner's DAGs that can fail before there is an outcome: an alert names them as its step.
TASKS = [
    "partner_file", "resolve", "plan", "ask", "approve", "send", "extract", "validate", "merge", "release", "push",
    "compare", "repair", "compare_again", "conclude",
]  # fmt: skip


@pytest.mark.parametrize("reason", BLOCKED)
def test_why_visits_are_blocked_has_words_in_a_plan_and_an_entry_for_the_note(reason: str) -> None:
    assert not re.search("[a-z]", reason_name(reason, "ja"))
    assert entry(reason).code == reason


@pytest.mark.parametrize("reason", UNSETTLED)
def test_why_a_comparison_says_nothing_has_words(reason: str) -> None:
    assert not re.search("[a-z]", count_name(f"visit.unsettled.{reason}", "ja"))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_that_an_alert_may_name_has_a_word(task: str) -> None:
    assert not re.search("[a-z]", step_name(task, "ja"))
