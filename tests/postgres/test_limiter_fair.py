"""Who waits gets its turn: a planner before the tick, a floor for each, the same for all who want too much."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from partner_sync.limiter import CallClass, Limit, Limits
from postgres.limiter_clock import START, TestLedger, after

SHARED = Limits(limits=(Limit(scope="vendor", requests=12, per_seconds=60),), jitter_seconds=0.0, grant_ttl_seconds=0.0)


def test_a_tick_leaves_the_room_that_a_waiting_planner_needs(ledger: TestLedger) -> None:
    ledger.ask(SHARED, 12, at=START, organization="aoba")
    ledger.ask(SHARED, 6, at=after(1), organization="aoba")
    assert ledger.ask(SHARED, 12, at=after(60), organization="aoba", call_class="tick").count == 6
    assert ledger.ask(SHARED, 6, at=after(60), organization="aoba").count == 6


def test_a_large_organization_leaves_a_small_one_its_floor(ledger: TestLedger) -> None:
    ledger.ask(SHARED, 500, at=START, organization="large")
    ledger.ask(SHARED, 2, at=after(1), organization="small", call_class="tick")
    assert ledger.ask(SHARED, 488, at=after(60), organization="large").count == 10
    assert ledger.ask(SHARED, 2, at=after(60), organization="small", call_class="tick").count == 2


def test_two_large_organizations_end_up_with_half_each(ledger: TestLedger) -> None:
    got = {"aoba": 0, "botan": 0}
    for second in range(0, 601, 10):
        for name in got:
            got[name] += ledger.ask(SHARED, 100, at=after(second), organization=name).count
    assert sum(got.values()) == 132
    assert abs(got["aoba"] - got["botan"]) <= 12


def test_a_demand_that_is_not_renewed_expires(ledger: TestLedger) -> None:
    ledger.ask(SHARED, 12, at=START, organization="aoba")
    ledger.ask(SHARED, 12, at=after(1), organization="gone")
    assert ledger.ask(SHARED, 12, at=after(60), organization="aoba", call_class="master").count == 3
    assert ledger.ask(SHARED, 12, at=after(121), organization="aoba", call_class="master").count == 12


def test_room_is_not_kept_for_an_organization_that_its_own_limit_stops(ledger: TestLedger) -> None:
    limits = Limits(
        limits=(*SHARED.limits, Limit(scope="organization", requests=3, per_seconds=300)), jitter_seconds=0.0,
        grant_ttl_seconds=0.0,
    )  # fmt: skip
    ledger.ask(limits, 50, at=START, organization="aoba")
    assert ledger.ask(SHARED, 9, at=after(1), organization="botan", call_class="master").count == 9


def test_somebody_always_gets_something_while_there_is_room(ledger: TestLedger) -> None:
    names = [f"org{number}" for number in range(20)]
    for round_number in range(8):
        # Twice: what was kept for one that did not need it goes to those who ask again.
        for name in names * 2:
            ledger.ask(SHARED, 5, at=after(round_number * 61), organization=name)
        used = ledger.admin.execute(
            "select sum(calls)::int as calls from sync.rate_ledger where left_at = %s", [after(round_number * 61)]
        ).fetchone()
        assert used is not None
        assert used["calls"] == 12


def test_who_asks_for_a_few_calls_gets_them_while_there_is_room_for_all_who_wait(ledger: TestLedger) -> None:
    """Two shards of one push: each keeps room for the other, and neither stands still for it."""
    ledger.ask(SHARED, 12, at=START, organization="aoba")
    for name in ("aoba", "botan"):
        assert ledger.ask(SHARED, 2, at=after(1), organization=name).count == 0
    assert [ledger.ask(SHARED, 2, at=after(60), organization=name).count for name in ("botan", "aoba")] == [2, 2]


# --- many at once ----------------------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """Pushers in simulated time: each asks for a batch, and comes back when it is told."""

    ledger: TestLedger
    limits: Limits
    left: dict[tuple[str, CallClass], int]
    late_seconds: float = 0.0
    got: Counter[str] = field(default_factory=Counter)
    first_seconds: dict[str, float] = field(default_factory=dict)
    done_seconds: dict[tuple[str, CallClass], float] = field(default_factory=dict)
    asks: int = 0

    def run(self, seconds: float) -> None:
        queue = [(0.001 * place, *who) for place, who in enumerate(self.left)]
        heapq.heapify(queue)
        while queue and queue[0][0] < seconds:
            now, organization, call_class = heapq.heappop(queue)
            who = organization, call_class
            self.asks += 1
            grant = self.ledger.ask(
                self.limits, min(8, self.left[who]), at=after(now), organization=organization, call_class=call_class
            )
            self._note(who, grant.count, now)
            if self.left[who]:
                wait = 0.2 if grant.retry_at is None else (grant.retry_at - grant.granted_at).total_seconds()
                heapq.heappush(queue, (now + wait + (0.0 if wait < 2 else self.late_seconds), *who))

    def _note(self, who: tuple[str, CallClass], calls: int, now: float) -> None:
        self.got[who[0]] += calls
        self.left[who] -= calls
        if calls:
            self.first_seconds.setdefault(who[0], now)
        if not self.left[who]:
            self.done_seconds[who] = now


def jain(got: Mapping[str, int], names: int) -> float:
    """Jain's index of fairness: 1 when all got the same, 1/n when one got everything."""
    return sum(got.values()) ** 2 / (names * sum(count**2 for count in got.values()))


def crowd_of(ledger: TestLedger, names: int, *, requests: int, per_seconds: float = 60, backlog: int = 20_000) -> Crowd:
    limits = Limits(
        limits=(Limit(scope="vendor", requests=requests, per_seconds=per_seconds),), jitter_seconds=0.0,
        grant_ttl_seconds=0.0,
    )  # fmt: skip
    return Crowd(ledger, limits, {(f"org{number}", "request"): backlog for number in range(names)})


def test_twenty_organizations_get_the_same_of_one_limit(ledger: TestLedger) -> None:
    crowd = crowd_of(ledger, 20, requests=60)
    crowd.run(600)
    assert sum(crowd.got.values()) >= 0.97 * 600
    assert jain(crowd.got, 20) >= 0.95
    assert max(crowd.first_seconds.values()) <= 61


def test_those_who_wake_late_are_not_starved_by_those_who_do_not(ledger: TestLedger) -> None:
    crowd = crowd_of(ledger, 10, requests=60)
    crowd.late_seconds = 4.0
    crowd.left["prompt", "request"] = 20_000
    crowd.run(600)
    assert sum(crowd.got.values()) >= 0.9 * 600
    assert min(crowd.got.values()) >= 0.7 * 600 / 11


def test_a_push_of_fifty_beside_a_backlog_takes_less_than_twice_its_time_alone(ledger: TestLedger) -> None:
    alone = crowd_of(ledger, 0, requests=10)
    alone.left["planner", "request"] = 50
    alone.run(3_600)
    ledger.empty()
    beside = crowd_of(ledger, 0, requests=10)
    beside.left = {("large", "tick"): 20_000, ("planner", "request"): 50}
    beside.run(3_600)
    seconds = beside.done_seconds["planner", "request"], alone.done_seconds["planner", "request"]
    assert seconds[0] <= 2 * seconds[1] + 60
    assert beside.got["large"] > 0


def test_ticks_get_their_floor_while_planners_push(ledger: TestLedger) -> None:
    crowd = crowd_of(ledger, 6, requests=60)
    crowd.left |= {(f"tick{number}", "tick"): 20_000 for number in range(6)}
    crowd.run(600)
    assert min(crowd.got[f"tick{number}"] for number in range(6)) >= 10
    assert min(crowd.got[f"org{number}"] for number in range(6)) > 1.5 * max(
        crowd.got[f"tick{number}"] for number in range(6)
    )


@pytest.mark.long
def test_two_hundred_organizations_get_the_same_of_the_vendors_limit(ledger: TestLedger) -> None:
    crowd = crowd_of(ledger, 200, requests=600)
    crowd.run(360)
    assert sum(crowd.got.values()) >= 0.97 * 3_600
    assert jain(crowd.got, 200) >= 0.95
    assert len(crowd.got) == 200
    assert max(crowd.first_seconds.values()) <= 61


# --- waiting is seen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["run", "reader"])
def test_who_waits_is_shown_with_its_time_and_reason(ledger: TestLedger, login: str) -> None:
    ledger.ask(SHARED, 12, at=START, organization="aoba")
    ledger.ask(SHARED, 3, at=after(1), organization="botan", call_class="master")
    ledger.ask(SHARED, 3, at=after(2), organization="botan", call_class="master")
    reader = ledger.database.connect(login)
    ledger.at(after(3), reader)
    rows = reader.execute("select * from sync.waiting").fetchall()
    assert rows == [
        {"partner": "honoka", "organization": "botan", "call_class": "master", "since": after(1), "opens_at": after(60),
         "reason": "limit"}
    ]  # fmt: skip
    ledger.at(after(91), reader)
    assert reader.execute("select * from sync.waiting").fetchall() == []


def test_who_got_its_calls_waits_no_longer(ledger: TestLedger) -> None:
    ledger.ask(SHARED, 12, at=START)
    ledger.ask(SHARED, 3, at=after(1))
    ledger.ask(SHARED, 3, at=after(60))
    ledger.at(after(60), ledger.admin)
    assert ledger.admin.execute("select * from sync.waiting").fetchall() == []
