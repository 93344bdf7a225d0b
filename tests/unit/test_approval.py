"""Which pushes ask a person first, and how far a yes carries."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from partner_sync.delivery.approval import Approval, reasons_to_ask
from partner_sync.delivery.plan import OrganizationPlan, Plan
from partner_sync.weeks import TOKYO, Week

WEEK = Week(date(2026, 11, 23))
WITHIN = datetime(2026, 11, 25, 12, tzinfo=TOKYO)
AFTER = datetime(2026, 11, 30, 0, 0, 1, tzinfo=TOKYO)


def plan(calls: int, blocked: int = 0) -> Plan:
    one = OrganizationPlan(
        organization="sakura-care",
        visits=calls,
        calls=calls,
        blocked={"no_key_patient": blocked} if blocked else {},
        sample_visit_ids=(),
        blocked_visit_ids=tuple(f"v{n}" for n in range(blocked)),
    )
    return Plan(week=WEEK, organizations=(one,), seconds=calls)


def asked(calls, *, mode="changes", now=WITHIN, approved=None):
    yes = Approval(calls=approved, by="admin") if approved is not None else None
    return reasons_to_ask(plan(calls), mode=mode, usual_calls=100, now=now, approval=yes)


def test_as_many_calls_as_are_usual_go_unasked_and_one_more_asks():
    assert asked(100) == ()
    assert asked(101) == ("many_calls",)


def test_a_resend_asks_for_a_past_week_only():
    assert asked(5, mode="resend") == ()
    assert asked(5, mode="resend", now=AFTER) == ("past_week",)
    assert asked(5, mode="changes", now=AFTER) == ()
    assert asked(101, mode="resend", now=AFTER) == ("many_calls", "past_week")


def test_the_present_week_ends_at_midnight_in_tokyo():
    last = datetime(2026, 11, 29, 14, 59, 59, tzinfo=UTC)
    assert asked(5, mode="resend", now=last) == ()


def test_a_push_without_a_call_asks_nobody():
    assert asked(0, mode="resend", now=AFTER) == ()


@given(st.integers(1, 100_000))
def test_a_yes_carries_a_tenth_more_and_not_one_call_beyond(approved):
    most = approved * 11 // 10
    assert Approval(calls=approved, by="admin").covers(most)
    assert not Approval(calls=approved, by="admin").covers(most + 1)


def test_what_has_grown_asks_again_for_the_same_reasons_and_what_has_become_usual_does_not():
    assert asked(150, approved=120) == ("many_calls",)
    assert asked(12, mode="resend", now=AFTER, approved=10) == ("past_week",)
    assert asked(90, approved=10) == ()


def test_a_plan_says_rows_calls_minutes_and_the_finishing_time_in_both_languages():
    english, japanese = (plan(1240).lines(language, now=WITHIN)[0] for language in ("en", "ja"))
    assert english == ("plan: 1,240 visits, 1,240 calls, about 21 minutes under the limits, done by 12:20 (Asia/Tokyo)")
    assert japanese == "計画: 予定 1,240件、呼び出し 1,240回、上限内で約21分、12:20ごろ完了見込み"


def test_a_plan_that_ends_on_another_day_names_it():
    assert "done by 2026-11-26 15:46" in plan(100_000).lines("en", now=WITHIN)[0]


def test_a_plan_says_why_visits_are_blocked_and_names_a_few_by_our_own_ids():
    line = plan(3, blocked=5).lines("en", now=WITHIN)[1]
    assert line == "blocked: patient without a key at the partner 5 (v0, v1, v2, ...)"
    assert plan(3, blocked=1).lines("ja", now=WITHIN)[1] == "送れない予定: 利用者が連携先と未対応付け 1 (v0)"
