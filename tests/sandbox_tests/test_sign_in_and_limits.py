"""The practice partner's keys and its limits, counted by its own clock."""

from __future__ import annotations

import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.control_client import LOOPBACK
from sandbox.keys import Key
from sandbox.limits import FixedWindow, SlidingWindow, Standing
from sandbox.running import RunningPartner
from sandbox.settings import Limit


def statuses(client: httpx.Client, path: str, calls: int) -> list[int]:
    return [client.get(path).status_code for _ in range(calls)]


@pytest.mark.parametrize("value", ["", "Bearer wrong", "Bearer", "Basic Og==", "Basic %%%"])
def test_a_wrong_key_is_unauthorized(honoka: RunningPartner, tsubaki: RunningPartner, value: str) -> None:
    for base_url, path in [(honoka.base_url, "/v1/patients"), (tsubaki.base_url, "/api/users")]:
        answer = httpx.get(base_url + path, headers={"Authorization": value}, **LOOPBACK)
        assert answer.status_code == 401
        assert answer.json()["error"] == {"code": "unauthorized"}


def test_each_organization_sees_its_own_people(honoka: RunningPartner) -> None:
    lists = []
    for name in honoka.organizations:
        with honoka.client(name) as client:
            lists.append(client.get("/v1/patients").json()["data"][0]["care"]["insured_number"])
    assert len(set(lists)) == 3


def test_another_organizations_data_is_forbidden(sakura: httpx.Client, hinata: httpx.Client) -> None:
    assert sakura.get("/v1/patients", params={"organization": "momiji-care"}).status_code == 403
    assert sakura.get("/v1/visits", params={"organization": "momiji-care"}).status_code == 403
    assert hinata.get("/api/users", params={"corp": "momiji-care"}).status_code == 403
    assert hinata.get("/api/users", params={"corp": "hinata-care"}).status_code == 200


def test_a_changed_key_makes_the_old_one_wrong(honoka: RunningPartner, sakura: httpx.Client) -> None:
    new = honoka.change_key("sakura-care")
    assert sakura.get("/v1/offices").status_code == 401
    assert sakura.get("/v1/offices", headers={"Authorization": new.header()}).status_code == 200


def test_a_key_never_shows_its_secret(honoka: RunningPartner) -> None:
    key = honoka.key("sakura-care")
    assert key.secret not in repr(key)
    assert Key(kind="basic", login="a", secret="b").header() == "Basic YTpi"


def test_each_organization_has_its_own_limit_at_honoka(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.limit(3, per_seconds=30)
    assert statuses(sakura, "/v1/offices", 5) == [200, 200, 200, 429, 429]
    with honoka.client("momiji-care") as momiji:
        assert statuses(momiji, "/v1/offices", 1) == [200]


def test_all_organizations_share_one_limit_at_tsubaki(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    tsubaki.limit(3, per_seconds=3600)
    assert statuses(hinata, "/api/facilities", 3) == [200, 200, 200]
    with tsubaki.client("momiji-care") as momiji:
        assert statuses(momiji, "/api/facilities", 1) == [429]


def test_a_call_goes_through_after_the_seconds_of_retry_after(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.limit(2, per_seconds=1)
    began = time.monotonic()
    assert statuses(sakura, "/v1/offices", 2) == [200, 200]
    refused = sakura.get("/v1/offices")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    time.sleep(max(0.0, began + 0.5 - time.monotonic()))
    assert sakura.get("/v1/offices").status_code == 429
    time.sleep(0.7)
    assert sakura.get("/v1/offices").status_code == 200


def test_refused_calls_do_not_count(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.limit(1, per_seconds=0.5)
    assert sakura.get("/v1/offices").status_code == 200
    deadline = time.monotonic() + 2
    while sakura.get("/v1/offices").status_code == 429:
        assert time.monotonic() < deadline, "knocking again and again must not keep the door shut"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("says", "scopes"), [("always", {"organization"}), ("never", {None}), ("alternate", {"organization", None})]
)
def test_the_scope_is_said_or_not_as_set(
    honoka: RunningPartner, sakura: httpx.Client, says: str, scopes: set[str | None]
) -> None:
    honoka.limit(0, per_seconds=30, say_scope=says)  # type: ignore[arg-type]  # parametrized
    answers = [sakura.get("/v1/offices").json()["error"] for _ in range(2)]
    assert {answer.get("scope") for answer in answers} == scopes


def test_rate_limit_fields_come_when_switched_on(honoka: RunningPartner, sakura: httpx.Client) -> None:
    assert "RateLimit" not in sakura.get("/v1/offices").headers
    honoka.limit(5, per_seconds=60, fields=True)
    headers = sakura.get("/v1/offices").headers
    assert headers["RateLimit-Policy"] == '"organization";q=5;w=60'
    assert headers["RateLimit"] == '"organization";r=4;t=60'


def test_a_wrong_key_counts_for_nobody_at_honoka_and_for_the_vendor_at_tsubaki(
    honoka: RunningPartner, tsubaki: RunningPartner
) -> None:
    def knock(partner: RunningPartner, path: str) -> list[int]:
        partner.limit(2, per_seconds=3600)
        with httpx.Client(base_url=partner.base_url, **LOOPBACK) as client:
            return statuses(client, path, 3)

    assert knock(honoka, "/v1/offices") == [401, 401, 401]
    assert knock(tsubaki, "/api/facilities") == [401, 401, 429]


# In 64ths of a second, which floating point adds without rounding.
GAPS = st.lists(st.integers(min_value=0, max_value=256).map(lambda parts: parts / 64), min_size=1, max_size=60)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_fixed_window_opens_again_at_the_edge_of_the_wall_clock() -> None:
    clock = Clock(1000.0)
    window = FixedWindow(Limit(requests=1, per_seconds=10), clock=clock, wall=lambda: 1_000_007.0)
    assert window.take().granted
    assert window.take() == Standing(False, 0, 3.0)
    clock.now += 2.9
    assert not window.take().granted
    clock.now += 0.2
    assert window.take().granted


@given(GAPS, st.integers(min_value=1, max_value=5))
def test_a_sliding_window_never_holds_more_than_its_limit_and_refuses_only_when_full(
    gaps: list[float], most: int
) -> None:
    clock, granted = Clock(0.0), list[float]()
    window = SlidingWindow(Limit(requests=most, per_seconds=3), clock=clock)
    for gap in gaps:
        clock.now += gap
        recent = [at for at in granted if at > clock.now - 3]
        assert window.take().granted == (len(recent) < most)
        if len(recent) < most:
            granted.append(clock.now)


@given(GAPS)
def test_waiting_for_retry_after_is_always_long_enough(gaps: list[float]) -> None:
    clock = Clock(0.0)
    window = SlidingWindow(Limit(requests=2, per_seconds=3), clock=clock)
    for gap in gaps:
        clock.now += gap
        standing = window.take()
        if not standing.granted:
            clock.now += standing.retry_after
            assert window.take().granted


def test_control_needs_the_token(honoka: RunningPartner) -> None:
    for token in ["", "wrong"]:
        answer = httpx.get(f"{honoka.base_url}/practice/keys", headers={"X-Practice-Token": token}, **LOOPBACK)
        assert answer.status_code == 403
        assert honoka.key("sakura-care").secret not in answer.text


def test_health_needs_no_token(tsubaki: RunningPartner) -> None:
    answer = httpx.get(f"{tsubaki.base_url}/practice/health", **LOOPBACK)
    assert answer.json() == {"status": "ok", "profile": "tsubaki"}


def test_control_calls_count_against_no_limit(honoka: RunningPartner) -> None:
    honoka.limit(0, per_seconds=60)
    assert honoka.received() == []
    assert honoka.summary()["sakura-care"]["calls"] == {}
