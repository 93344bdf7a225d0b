"""The practice partner's faults do what they say: to the answer, to the connection and to the work."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from sandbox.control_client import LOOPBACK
from sandbox.faults import FaultKind
from sandbox.running import RunningPartner
from sandbox_tests.honoka_visit import VISIT, put


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_status_is_answered_in_place_of_the_work(honoka: RunningPartner, sakura: httpx.Client, status: int) -> None:
    honoka.fault("status", status=status, retry_after_seconds=7, times=1)
    answer = put(sakura)
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert honoka.visits() == []
    assert put(sakura).status_code == 201


def test_a_rate_storm_says_429_though_the_limit_is_not_reached(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("rate_storm", retry_after_seconds=2, scope="vendor", times=1)
    honoka.fault("rate_storm", times=1)
    said, unsaid = sakura.get("/v1/offices"), sakura.get("/v1/offices")
    assert (said.status_code, said.headers["Retry-After"], said.json()["error"]["scope"]) == (429, "2", "vendor")
    assert (unsaid.status_code, unsaid.headers.get("Retry-After")) == (429, None)
    assert "scope" not in unsaid.json()["error"]


def test_a_redirect_names_another_host(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("redirect", to="http://elsewhere.invalid/v1/patients")
    answer = sakura.get("/v1/patients")
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://elsewhere.invalid/v1/patients")


@pytest.mark.parametrize(("kind", "held"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_call_has_no_answer_and_is_done_or_not(
    honoka: RunningPartner, sakura: httpx.Client, kind: FaultKind, held: int
) -> None:
    honoka.fault(kind, method="PUT", times=1)
    with pytest.raises(httpx.TransportError):
        put(sakura)
    assert len(honoka.visits()) == held
    assert [call["status"] for call in honoka.received(method="PUT")] == [None]
    again = put(sakura)
    assert again.status_code == 201
    assert ("Idempotent-Replayed" in again.headers) == bool(held)


@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_a_hang_does_the_work_before_or_after_it(honoka: RunningPartner, sakura: httpx.Client, kind: FaultKind) -> None:
    honoka.fault(kind, method="PUT", seconds=1, times=1)
    with pytest.raises(httpx.ReadTimeout):
        sakura.put("/v1/visits/visit-1", json=VISIT, headers={"Idempotency-Key": "1"}, timeout=0.3)
    assert len(honoka.visits()) == (1 if kind == "hang_after" else 0)
    deadline = time.monotonic() + 5
    while not honoka.visits():
        assert time.monotonic() < deadline, "the work is done although nobody waits for the answer"
        time.sleep(0.05)


def test_a_cut_body_ends_before_the_announced_length(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("cut_body", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        sakura.get("/v1/patients")
    assert sakura.get("/v1/patients").status_code == 200


def test_the_server_serves_on_after_connections_were_cut(honoka: RunningPartner) -> None:
    honoka.fault("drop_after", times=20)
    for _ in range(20):
        with honoka.client("sakura-care") as client, pytest.raises(httpx.TransportError):
            client.get("/v1/offices")
    with honoka.client("sakura-care") as client:
        assert client.get("/v1/offices").status_code == 200


def test_not_json_is_a_200_that_cannot_be_read(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("not_json", times=1)
    answer = sakura.get("/v1/patients")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_html_comes_with_200(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    tsubaki.fault("html", times=1)
    answer = hinata.get("/api/users")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


def test_an_error_body_comes_with_200(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    tsubaki.fault("error_200", times=1)
    answer = hinata.get("/api/users")
    assert (answer.status_code, answer.json()) == (200, {"error": {"code": "system_busy"}})


def test_an_empty_page_has_a_total_but_no_records(honoka: RunningPartner, tsubaki: RunningPartner) -> None:
    for partner in (honoka, tsubaki):
        partner.fault("empty_page", times=1)
    with honoka.client("sakura-care") as client:
        body = client.get("/v1/patients").json()
        assert (body["data"], body["pagination"]["total"]) == ([], 61)
    with tsubaki.client("hinata-care") as client:
        answer = client.get("/api/users").json()
        assert (answer["result"]["items"], answer["total"]) == ([], 61)


def test_a_repeated_page_gives_the_first_page_again(honoka: RunningPartner, sakura: httpx.Client) -> None:
    first = sakura.get("/v1/patients?limit=10&page=1").json()
    honoka.fault("repeated_page", times=1)
    second = sakura.get("/v1/patients?limit=10&page=2").json()
    assert second["data"] == first["data"]
    assert second["pagination"]["page"] == 2


def test_a_repeated_page_at_tsubaki_goes_on_to_the_page_after_it(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    first = hinata.get("/api/users?per_page=20")
    following = hinata.get(first.links["next"]["url"])
    tsubaki.fault("repeated_page", times=1)
    second = hinata.get(first.links["next"]["url"])
    assert second.json() == first.json()
    assert second.links == following.links


def test_a_loop_at_tsubaki_names_its_own_page_as_the_next(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    following = hinata.get("/api/users?per_page=20").links["next"]["url"]
    tsubaki.fault("loop_page")
    looped = hinata.get(following)
    assert looped.links["next"]["url"] == following
    assert hinata.get(looped.links["next"]["url"]).json() == looped.json()


def test_a_loop_at_honoka_never_reaches_the_last_page(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("loop_page")
    pages = [sakura.get(f"/v1/patients?limit=10&page={page}").json() for page in (6, 7, 90)]
    assert [page["pagination"]["last_page"] for page in pages] == [7, 8, 91]
    assert pages[0]["data"] == pages[1]["data"] == pages[2]["data"]


@pytest.mark.parametrize(
    ("kind", "path", "seen"),
    [
        ("record_not_object", "", "this is no record"),
        ("missing_key", "id", None),
        ("number_for_text", "name.family", 12345),
        ("nul", "name.family", "山\x00田"),
        ("wrong_date", "birth", "2026-02-30"),
    ],
)
def test_a_record_is_spoilt_and_the_others_are_left(
    honoka: RunningPartner, sakura: httpx.Client, kind: FaultKind, path: str, seen: object
) -> None:
    whole = sakura.get("/v1/patients").json()["data"]
    honoka.fault(kind, records=2, times=1)
    spoilt = sakura.get("/v1/patients").json()["data"]
    for record in spoilt[:2]:
        value = record
        for name in path.split(".") if path else []:
            value = value.get(name)
        assert value == seen
    assert spoilt[2:] == whole[2:]


@pytest.mark.parametrize("path", ["/api/facilities", "/api/staff", "/api/users"])
@pytest.mark.parametrize("kind", ["record_not_object", "missing_key", "number_for_text", "nul", "wrong_date"])
def test_every_list_of_tsubaki_can_be_spoilt(
    tsubaki: RunningPartner, hinata: httpx.Client, kind: FaultKind, path: str
) -> None:
    whole = hinata.get(path).json()["result"]["items"]
    tsubaki.fault(kind, times=1)
    spoilt = hinata.get(path).json()["result"]["items"]
    assert spoilt[0] != whole[0]
    assert spoilt[1:] == whole[1:]


def test_a_long_text_has_the_megabytes_asked_for(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("long_text", megabytes=10, times=1)
    answer = sakura.get("/v1/patients?limit=2")
    assert len(answer.json()["data"][0]["name"]["family"].encode()) == pytest.approx(10_000_000, rel=0.01)


def test_a_fault_strikes_only_the_calls_it_names(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("status", method="GET", path="/v1/pat*", organization="sakura-care", skip=1, times=2)
    assert sakura.get("/v1/offices").status_code == 200
    assert put(sakura).status_code == 201
    with honoka.client("momiji-care") as momiji:
        assert momiji.get("/v1/patients").status_code == 200
    assert [sakura.get("/v1/patients").status_code for _ in range(4)] == [200, 500, 500, 200]
    assert honoka.faults()[0]["used"] == 2


def test_a_removed_fault_strikes_no_more(honoka: RunningPartner, sakura: httpx.Client) -> None:
    number = honoka.fault("status")
    assert sakura.get("/v1/offices").status_code == 500
    honoka.remove_fault(number)
    assert sakura.get("/v1/offices").status_code == 200
    honoka.fault("status")
    honoka.clear_faults()
    assert sakura.get("/v1/offices").status_code == 200


def test_an_unknown_fault_is_refused(honoka: RunningPartner) -> None:
    answer = httpx.post(
        f"{honoka.base_url}/practice/faults",
        json={"kind": "earthquake"},
        headers={"X-Practice-Token": honoka.control_token},
        **LOOPBACK,
    )
    assert answer.status_code == 400
