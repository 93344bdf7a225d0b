"""What a partner says narrows the limits at once, for everybody, for a bounded time, and never widens them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from partner_sync.kinds.interface import Quota
from partner_sync.limiter import Grant, Heard, Limit, Limits, PrepaidGate, apply_heard, apply_told, finish_grant
from postgres.limiter_clock import START, TestLedger, after

VENDOR = Limit(scope="vendor", requests=600, per_seconds=60)
ORGANIZATION = Limit(scope="organization", requests=60, per_seconds=60)
DAILY = Limit(scope="organization", requests=5_000, per_seconds=86_400)
LIMITS = Limits(limits=(ORGANIZATION, DAILY, VENDOR), jitter_seconds=0.0, grant_ttl_seconds=0.0)


def told(ledger: TestLedger, quota: Quota, *, limits: Limits = LIMITS, at: datetime = START) -> Grant:
    """One call by ``aoba``, whose answer says so."""
    grant = ledger.ask(limits, 1, at=at)
    apply_told(ledger.conn, grant, [quota])
    return grant


def granted(ledger: TestLedger, seconds: float, *, limits: Limits = LIMITS, organization: str = "aoba") -> int:
    return ledger.ask(limits, 1_000, at=after(seconds), organization=organization).count


def test_what_is_left_narrows_the_limit_with_its_window(ledger: TestLedger) -> None:
    told(ledger, Quota(requests=60, window_seconds=60, remaining=7, reset_at=after(30)))
    assert granted(ledger, 1) == 7
    assert granted(ledger, 2) == 0
    assert granted(ledger, 2, organization="botan") == 60
    assert granted(ledger, 30) == 52


def test_what_is_left_of_the_vendors_quota_stops_everybody(ledger: TestLedger) -> None:
    told(ledger, Quota(requests=600, window_seconds=60, remaining=5, reset_at=after(30)))
    assert [granted(ledger, 1, organization=name) for name in ("botan", "cosmos")] == [5, 0]


def test_nothing_left_pauses_until_the_partner_counts_anew(ledger: TestLedger) -> None:
    told(ledger, Quota(window_seconds=60, remaining=0, reset_at=after(30)))
    refused = ledger.ask(LIMITS, at=after(1))
    assert (refused.count, refused.reason, refused.retry_at) == (0, "paused", after(30))


def test_a_quota_that_no_limit_knows_binds_the_organization(ledger: TestLedger) -> None:
    only_vendor = Limits(limits=(VENDOR,), jitter_seconds=0.0, grant_ttl_seconds=0.0)
    told(ledger, Quota(window_seconds=3_600, remaining=4, reset_at=after(30)), limits=only_vendor)
    assert granted(ledger, 1, limits=only_vendor) == 4
    assert granted(ledger, 1, limits=only_vendor, organization="botan") == 595


def test_more_than_the_file_allows_changes_nothing(ledger: TestLedger) -> None:
    told(ledger, Quota(requests=1_000, window_seconds=60, remaining=900, reset_at=after(30)))
    assert granted(ledger, 1) == 59


@pytest.mark.parametrize(("reset_seconds", "free_again"), [(-5, 1), (0, 1), (10**9, 3_601)])
def test_an_absurd_time_is_bounded(ledger: TestLedger, reset_seconds: float, free_again: float) -> None:
    told(ledger, Quota(window_seconds=60, remaining=0, reset_at=START + timedelta(seconds=reset_seconds)))
    assert granted(ledger, free_again) > 0


def test_without_a_time_it_holds_for_the_window(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 1, at=datetime.now(START.tzinfo))
    apply_told(ledger.conn, grant, [Quota(window_seconds=60, remaining=0)])
    refused = ledger.ask(LIMITS, at=grant.granted_at + timedelta(seconds=55))
    assert refused.retry_at is not None
    assert timedelta(seconds=58) < refused.retry_at - grant.granted_at < timedelta(seconds=90)


def test_in_one_window_the_smallest_figure_counts_whatever_its_order(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 1, at=START)
    for remaining in (20, 8, 15):
        apply_told(ledger.conn, grant, [Quota(window_seconds=60, remaining=remaining, reset_at=after(30))])
    assert granted(ledger, 1) == 8


def test_a_new_window_begins_with_its_own_figure(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 1, at=START)
    apply_told(ledger.conn, grant, [Quota(window_seconds=60, remaining=3, reset_at=after(30))])
    apply_told(ledger.conn, grant, [Quota(window_seconds=60, remaining=40, reset_at=after(90))])
    assert granted(ledger, 1) == 40


def test_calls_that_others_may_still_make_are_taken_off_what_is_left(ledger: TestLedger) -> None:
    lasting = Limits(limits=(ORGANIZATION,), jitter_seconds=0.0, grant_ttl_seconds=20.0)
    ledger.ask(lasting, 10, at=START)
    mine = ledger.ask(lasting, 1, at=START)
    finish_grant(ledger.conn, mine)
    apply_told(ledger.conn, mine, [Quota(window_seconds=60, remaining=12, reset_at=after(30))])
    assert granted(ledger, 1, limits=lasting) == 2


def test_a_smaller_policy_binds_while_it_is_told(ledger: TestLedger) -> None:
    told(ledger, Quota(requests=20, window_seconds=60))
    assert granted(ledger, 1) == 19
    assert granted(ledger, 599) == 20
    assert granted(ledger, 700) == 60


def test_a_larger_policy_takes_a_smaller_one_back_and_no_more(ledger: TestLedger) -> None:
    grant = told(ledger, Quota(requests=20, window_seconds=60))
    ledger.conn.execute("select sync.told('honoka', 'aoba', %s, 0.0, %s::jsonb)",
        [grant.caller.binding(None).text, '[{"limit": 1, "requests": 999}]'])  # fmt: skip
    assert granted(ledger, 1) == 59


@pytest.mark.parametrize("counts", ["token_bucket", "spaced", "fixed_window", "in_flight"])
def test_every_kind_of_limit_can_be_narrowed(ledger: TestLedger, counts: str) -> None:
    seconds = {} if counts == "in_flight" else {"per_seconds": 60}
    limit = Limit(scope="organization", requests=60, counts=counts, **seconds)  # type: ignore[arg-type]  # parametrized
    limits = Limits(limits=(limit,), jitter_seconds=0.0, grant_ttl_seconds=0.0)
    told(ledger, Quota(remaining=0, reset_at=after(45)), limits=limits)
    assert ledger.ask(limits, at=after(5)).retry_at == after(45)


def test_a_prepaid_gate_hands_out_no_more_than_is_left_and_tells_everybody_when_it_is_settled(
    ledger: TestLedger,
) -> None:
    lasting = Limits(limits=(ORGANIZATION,), jitter_seconds=0.0, grant_ttl_seconds=20.0)
    grant = ledger.ask(lasting, 10, at=START)
    gate = PrepaidGate(grant)
    gate.take("PUT /v1/visits/{key}")
    gate.told([Quota(window_seconds=60, remaining=1, reset_at=after(30))])
    gate.take("PUT /v1/visits/{key}")
    gate.told([Quota(window_seconds=60, remaining=0, reset_at=after(30))])
    with pytest.raises(Exception, match="paused"):
        gate.take("PUT /v1/visits/{key}")
    gate.finish(ledger.conn)
    assert ledger.ask(lasting, at=after(1)).retry_at == after(30)


# --- 429 teaches -----------------------------------------------------------------------------------------------------


def refuse(ledger: TestLedger, grant: Grant, *, at: float, scope: str | None = None, unsent: int = 1) -> None:
    ledger.at(after(at))
    apply_heard(ledger.conn, grant, [Heard(scope=scope, until_at=after(at))], unsent=unsent)


def test_after_a_429_a_little_less_than_what_was_in_the_window_is_allowed(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 41, at=START)
    refuse(ledger, grant, at=1)
    assert granted(ledger, 60) == 36


def test_one_429_takes_away_about_half_at_most(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 3, at=START)
    refuse(ledger, grant, at=1)
    assert granted(ledger, 60) == 27


def test_a_429_of_the_vendor_narrows_the_vendors_limit(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 41, at=START)
    refuse(ledger, grant, at=1, scope="vendor")
    assert granted(ledger, 2) == 19
    assert sum(granted(ledger, 60, organization=f"org{number}") for number in range(9)) == 270 - 19


def test_several_429s_of_one_moment_are_one_lesson(ledger: TestLedger) -> None:
    grants = [ledger.ask(LIMITS, 10, at=START) for _ in range(4)]
    for grant in grants:
        refuse(ledger, grant, at=1)
    assert granted(ledger, 60) == 32


def test_a_pause_without_a_429_teaches_nothing(ledger: TestLedger) -> None:
    grant = ledger.ask(LIMITS, 10, at=START)
    apply_heard(ledger.conn, grant, [Heard(scope=None, until_at=after(5), status=503)], unsent=1)
    assert granted(ledger, 60) == 60


ONE = Limits(limits=(ORGANIZATION,), jitter_seconds=0.0, grant_ttl_seconds=0.0)


def test_what_was_learned_is_raised_slowly_and_never_above_the_file(ledger: TestLedger) -> None:
    refuse(ledger, ledger.ask(ONE, 41, at=START), at=1)
    sizes = [granted(ledger, 60 + 60 * minute, limits=ONE) for minute in range(60)]
    assert [sizes.index(size) for size in (36, 45, 56, 60)] == [0, 13, 27, 41]
    assert set(sizes) == {36, 45, 56, 60}


def test_each_raise_that_meets_a_429_makes_the_next_one_wait_longer(ledger: TestLedger) -> None:
    """A partner that holds exactly 40."""
    lessons = []
    for minute in range(1, 600):
        grant = ledger.ask(ONE, 60, at=after(61 * minute))
        if grant.count > 40:
            refuse(ledger, grant, at=61 * minute + 1, unsent=grant.count - 40)
            lessons.append(minute)
    waits = [later - earlier for earlier, later in pairwise(lessons)]
    assert len(waits) >= 3
    assert all(later >= 1.8 * earlier for earlier, later in pairwise(waits)), waits
