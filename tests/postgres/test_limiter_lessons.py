"""What a 429 teaches, also when it says nothing at all: how long to stop, how many calls fit, and when to try more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.limiter import Grant, Heard, Limit, Limits, PrepaidGate, apply_heard, finish_grant
from postgres.limiter_clock import START, TestLedger, after
from postgres.limiter_fleet import Fleet
from postgres.limiter_partner import CountingPartner

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
DAY = Limit(scope="organization", requests=5_000, per_seconds=86_400, counts="fixed_window", zone="Asia/Tokyo")


def of(*limits: Limit) -> Limits:
    return Limits(limits=limits, jitter_seconds=0.0, grant_ttl_seconds=0.0)


def window(requests: int = 60, per_seconds: float = 60.0) -> Limit:
    return Limit(scope="organization", requests=requests, per_seconds=per_seconds)


def refuse(ledger: TestLedger, grant: Grant, *, at: float, unsent: int = 1, until_at: datetime | None = None) -> None:
    ledger.at(after(at))
    apply_heard(ledger.conn, grant, [Heard(scope=None, until_at=until_at)], unsent=unsent)


def opens_at(ledger: TestLedger, limits: Limits, at: float) -> float:
    """When the ledger lets a call go again, in seconds from the start."""
    refused = ledger.ask(limits, 1, at=after(at))
    assert refused.reason == "paused"
    assert refused.retry_at is not None
    return (refused.retry_at - START).total_seconds()


def room(ledger: TestLedger, limits: Limits, at: float) -> int:
    return ledger.ask(limits, 10_000, at=after(at)).count


# --- how long to stop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_seconds", "pause_seconds"), [(0.5, 1), (5, 5), (30, 30), (86_400, 30)])
def test_a_429_that_names_no_time_stops_for_a_window_and_half_a_minute_at_most(
    ledger: TestLedger, per_seconds: float, pause_seconds: float
) -> None:
    limits = of(window(60, per_seconds))
    refuse(ledger, ledger.ask(limits, 40, at=START), at=0.1)
    assert opens_at(ledger, limits, 0.2) == pytest.approx(0.1 + pause_seconds)


def test_the_pause_doubles_while_nothing_gets_through_and_begins_anew_when_something_did(ledger: TestLedger) -> None:
    limits, at, pauses = of(replace(DAY, requests=10_000_000)), 0.0, []
    for _ in range(11):
        grant = ledger.ask(limits, 2, at=after(at))
        refuse(ledger, grant, at=at + 0.1, unsent=2)
        opens = opens_at(ledger, limits, at + 0.2)
        pauses.append(round(opens - at - 0.1))
        at = opens + 1
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    for unsent in (1, 1):
        grant = ledger.ask(limits, 9, at=after(at))
        refuse(ledger, grant, at=at + 0.1, unsent=unsent)
        at = opens_at(ledger, limits, at + 0.2) + 1
    refuse(ledger, ledger.ask(limits, 9, at=after(at)), at=at + 0.1, unsent=9)
    assert opens_at(ledger, limits, at + 0.2) == pytest.approx(at + 30.1)


def test_a_named_time_is_kept_whatever_the_window(ledger: TestLedger) -> None:
    limits = of(window())
    refuse(ledger, ledger.ask(limits, 10, at=START), at=1, until_at=after(13))
    assert opens_at(ledger, limits, 2) == 13


def test_a_refusal_of_a_call_that_left_before_the_pause_does_not_make_it_longer(ledger: TestLedger) -> None:
    limits = of(window(60, 5))
    grants = [ledger.ask(limits, 10, at=START) for _ in range(3)]
    for number, grant in enumerate(grants):
        refuse(ledger, grant, at=1 + number)
    assert opens_at(ledger, limits, 4) == 6


# --- how many calls fit ----------------------------------------------------------------------------------------------


def test_every_refusal_of_one_moment_is_taken_off_what_got_through(ledger: TestLedger) -> None:
    limits = of(window())
    grants = [ledger.ask(limits, 10, at=START) for _ in range(5)]
    for grant in grants:
        refuse(ledger, grant, at=1, unsent=3)
    assert room(ledger, limits, 61) == 31  # 0.9 * (50 - 15)


def test_calls_that_stay_at_home_because_the_partner_said_stop_got_through_nowhere(ledger: TestLedger) -> None:
    limits = Limits(limits=(window(),), jitter_seconds=0.0, grant_ttl_seconds=30.0)
    gate = PrepaidGate(ledger.ask(limits, 50, at=START))
    for _ in range(39):
        gate.take("PUT /v1/visits/{key}")
    gate.heed(status=429, scope=None, retry_at=None)
    ledger.at(after(1))
    gate.finish(ledger.conn)
    assert room(ledger, limits, 62) == 34  # 0.9 * (39 - 1)


def test_the_shortest_window_in_use_learns_first(ledger: TestLedger) -> None:
    """The day is fuller, but a lesson there would stop us until the evening."""
    limits = of(window(100, 10), Limit(scope="organization", requests=150, per_seconds=3_600))
    finish_grant(ledger.conn, ledger.ask(limits, 90, at=START))
    refuse(ledger, ledger.ask(limits, 41, at=after(20)), at=20.1)
    assert room(ledger, limits, 40) == 19
    assert room(ledger, limits, 3_700) == 56  # raised by a quarter since


def test_one_stray_429_at_the_end_of_a_day_is_a_pause_and_no_more(ledger: TestLedger) -> None:
    limits = of(DAY)
    refuse(ledger, ledger.ask(limits, 4_900, at=START), at=1)
    assert room(ledger, limits, 31) == 100


def test_a_day_that_is_used_up_by_somebody_else_is_left_alone_after_some_tries(ledger: TestLedger) -> None:
    limits, at, tries = of(DAY), 1.0, 0
    refuse(ledger, ledger.ask(limits, 2_500, at=START), at=at)
    while at < 8 * 3_600:
        grant = ledger.ask(limits, 4, at=after(at))
        if grant.count:
            refuse(ledger, grant, at=at, unsent=grant.count)
            tries += 1
        at = ((grant.retry_at or after(at + 0.001)) - START).total_seconds()
    assert tries <= 6


def test_one_call_that_came_too_close_takes_away_a_fifth(ledger: TestLedger) -> None:
    limits = of(Limit(scope="vendor", requests=5, per_seconds=1, counts="spaced"))
    refuse(ledger, ledger.ask(limits, 1, at=START), at=0.1)
    grant = ledger.ask(limits, 2, at=after(2))
    assert grant.retry_at == after(2.25)


@quick
@given(used=st.integers(1, 60), unsent=st.lists(st.integers(1, 10), min_size=1, max_size=4), again=st.booleans())
def test_a_lesson_takes_something_away_and_about_half_at_most(
    ledger: TestLedger, used: int, unsent: list[int], again: bool
) -> None:
    ledger.empty()
    limits, before, at = of(window()), 60, 0.0
    for _ in range(1 + again):
        grant = ledger.ask(limits, min(used, before), at=after(at))
        for one in unsent:
            refuse(ledger, grant, at=at + 1, unsent=one)
        at += 120
        learned = room(ledger, limits, at)
        assert max(1, int(0.45 * before)) <= learned <= max(1, int(0.9 * before))
        before, at = learned, at + 120


# --- trying more -----------------------------------------------------------------------------------------------------


def test_a_raise_that_meets_a_429_goes_back_to_what_held(ledger: TestLedger) -> None:
    limits = of(window())
    refuse(ledger, ledger.ask(limits, 41, at=START), at=1)
    assert [room(ledger, limits, 100), room(ledger, limits, 1_000)] == [36, 45]
    # Hardly anything was in its window: by itself that would teach half.
    refuse(ledger, ledger.ask(limits, 2, at=after(1_100)), at=1_101)
    assert [room(ledger, limits, 1_200), room(ledger, limits, 1_101 + 1_600)] == [36, 36]
    assert room(ledger, limits, 1_101 + 1_700) == 45


def test_where_it_does_not_hold_there_either_less_is_learned(ledger: TestLedger) -> None:
    limits = of(window())
    refuse(ledger, ledger.ask(limits, 41, at=START), at=1)
    assert room(ledger, limits, 1_000) == 45
    refuse(ledger, ledger.ask(limits, 2, at=after(1_100)), at=1_101)
    refuse(ledger, ledger.ask(limits, 31, at=after(1_200)), at=1_201)
    assert room(ledger, limits, 1_300) == 27


# --- beside a second client ------------------------------------------------------------------------------------------

SLIDING = Limit(scope="vendor", requests=40, per_seconds=5)
SECOND = Limit(scope="vendor", requests=10, per_seconds=1)
FIXED = Limit(scope="vendor", requests=40, per_seconds=5, counts="fixed_window")
BUCKET = Limit(scope="vendor", requests=10, per_seconds=1, counts="token_bucket", burst=20)


@pytest.mark.parametrize("limit", [SLIDING, SECOND, FIXED, BUCKET], ids=["sliding", "second", "fixed", "bucket"])
@pytest.mark.parametrize("eaten", [0.5, 0.75])
def test_beside_a_second_client_a_429_that_says_nothing_is_rare_after_a_minute(
    ledger: TestLedger, limit: Limit, eaten: float
) -> None:
    """Four pushers. Of what is left nine tenths are used, or half where the figures are small."""
    ledger.empty()
    per_second = eaten * limit.requests / limit.per_seconds
    others = [START + timedelta(seconds=number / per_second) for number in range(int(150 * per_second))]
    fleet = Fleet(ledger, Limits(limits=(limit,), grant_ttl_seconds=10.0), CountingPartner([limit]))
    fleet.run(150, others=others)
    assert fleet.refused_share(60) < 0.01
    assert fleet.got_through(60) >= 0.5 * 90 * (limit.requests / limit.per_seconds - per_second)
