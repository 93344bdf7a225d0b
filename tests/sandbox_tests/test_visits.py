"""How the practice partner takes, changes, replays and reads back visits."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.running import RunningPartner
from sandbox.visits import read_time, week_of
from sandbox_tests.honoka_visit import VISIT as HONOKA_VISIT
from sandbox_tests.honoka_visit import put

TSUBAKI_VISIT = {
    "external_id": "visit-1",
    "facility_code": "01",
    "user_no": "0000000001",
    "staff_no": None,
    "start_at": "2026-11-25T09:00:00",
    "end_at": "2026-11-25T10:00:00",
    "status": "1",
}


def test_a_visit_put_is_held_and_read_back_as_it_was_sent(honoka: RunningPartner, sakura: httpx.Client) -> None:
    answer = put(sakura, "visit-1", "key-1")
    assert (answer.status_code, answer.json()["data"]["version"]) == (201, 1)
    read = sakura.get("/v1/visits/visit-1").json()["data"]
    assert {name: read[name] for name in HONOKA_VISIT} == HONOKA_VISIT
    assert [(visit["key"], visit["body"]) for visit in honoka.visits("sakura-care")] == [("visit-1", HONOKA_VISIT)]


def test_a_second_put_changes_the_visit(sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    answer = put(sakura, "visit-1", "key-2", status="cancelled")
    assert (answer.status_code, answer.json()["data"]["version"]) == (200, 2)
    assert sakura.get("/v1/visits/visit-1").json()["data"]["status"] == "cancelled"


def test_a_week_is_read_back_by_its_monday_in_tokyo(sakura: httpx.Client) -> None:
    put(sakura, "in", "1", start_at="2026-11-22T15:00:00Z", end_at="2026-11-22T16:00:00Z")
    put(sakura, "before", "2", start_at="2026-11-22T14:59:00Z", end_at="2026-11-22T16:00:00Z")
    listed = sakura.get("/v1/visits", params={"week": "2026-11-23", "organization": "sakura-care"}).json()
    assert [visit["key"] for visit in listed["data"]] == ["in"]
    assert listed["pagination"]["total"] == 1


@given(st.datetimes(timezones=st.timezones()))
def test_a_week_begins_on_a_monday(start: Any) -> None:
    moment = read_time(week_of(start))
    assert moment is not None
    assert moment.weekday() == 0


def test_a_deleted_visit_is_absent(sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    assert sakura.delete("/v1/visits/visit-1").status_code == 204
    assert sakura.delete("/v1/visits/visit-1").status_code == 404
    assert sakura.get("/v1/visits/visit-1").status_code == 404


def test_the_same_key_and_request_replay_the_stored_answer(honoka: RunningPartner, sakura: httpx.Client) -> None:
    first, again = put(sakura, "visit-1", "key-1"), put(sakura, "visit-1", "key-1")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert [visit["version"] for visit in honoka.visits()] == [1]


def test_a_stored_refusal_is_replayed_too(honoka: RunningPartner, sakura: httpx.Client) -> None:
    first, again = (put(sakura, "visit-1", "key-1", patient_id="P-999999") for _ in range(2))
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


def test_a_delete_under_a_key_is_replayed(sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    assert sakura.delete("/v1/visits/visit-1", headers={"Idempotency-Key": "key-2"}).status_code == 204
    assert sakura.delete("/v1/visits/visit-1", headers={"Idempotency-Key": "key-2"}).status_code == 204
    assert sakura.delete("/v1/visits/visit-1", headers={"Idempotency-Key": "key-3"}).status_code == 404


def test_another_payload_under_the_same_key_is_refused(honoka: RunningPartner, sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    answer = put(sakura, "visit-1", "key-1", status="cancelled")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert honoka.visits()[0]["body"]["status"] == "planned"


def test_the_same_key_at_another_organization_is_another_key(honoka: RunningPartner, sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    with honoka.client("momiji-care") as momiji:
        answer = put(momiji, "visit-2", "key-1", office_id="O-001")
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers


def test_a_key_that_is_still_running_is_a_conflict(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.fault("hang_before", method="PUT", seconds=0.6, times=1)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(put, sakura, "visit-1", "key-1")
        deadline = time.monotonic() + 5
        while not honoka.received(method="PUT"):
            assert time.monotonic() < deadline
        second = put(sakura, "visit-1", "key-1")
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_key_in_progress")
    assert slow.result().status_code == 201
    assert put(sakura, "visit-1", "key-1").headers["Idempotent-Replayed"] == "true"


def test_a_put_without_a_key_is_refused(honoka: RunningPartner, sakura: httpx.Client) -> None:
    answer = sakura.put("/v1/visits/visit-1", json=HONOKA_VISIT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "idempotency_key_missing")
    assert honoka.visits() == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"patient_id": "P-999999"}, ("patient_id", "unknown")),
        ({"patient_id": "1"}, ("patient_id", "unknown")),
        ({"patient_id": None}, ("patient_id", "required")),
        ({"office_id": "O-099"}, ("office_id", "unknown")),
        ({"staff_id": "S-9999"}, ("staff_id", "unknown")),
        ({"service_code": 111111}, ("service_code", "invalid")),
        ({"start_at": "tomorrow"}, ("start_at", "invalid")),
        ({"end_at": "2026-11-25T09:00:00+09:00"}, ("end_at", "end_before_start")),
        ({"actual_start_at": "2026-11-25T09:00:00+09:00"}, ("actual_end_at", "required")),
        ({"status": "done"}, ("status", "invalid")),
        ({"note": "あ" * 1001}, ("note", "too_long")),
    ],
)
def test_a_wrong_field_is_named(
    honoka: RunningPartner, sakura: httpx.Client, changes: dict[str, Any], error: tuple[str, str]
) -> None:
    answer = put(sakura, "visit-1", "key-1", **changes)
    assert answer.status_code == 422
    assert answer.json() == {"errors": [{"field": error[0], "code": error[1]}]}
    assert honoka.visits() == []


def test_all_wrong_fields_are_named_together(hinata: httpx.Client) -> None:
    answer = hinata.post("/api/visits", json=TSUBAKI_VISIT | {"external_id": "", "user_no": "x", "status": "planned"})
    fields = [(error["field"], error["code"]) for error in answer.json()["errors"]]
    assert fields == [("external_id", "required"), ("user_no", "unknown"), ("status", "invalid")]


def test_a_visit_of_a_deleted_patient_is_refused(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.delete_patients("sakura-care", keys=["P-000001"])
    assert put(sakura, "visit-1", "key-1").json()["errors"] == [{"field": "patient_id", "code": "unknown"}]


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"'])
def test_a_body_that_is_no_object_is_a_bad_request(sakura: httpx.Client, content: str) -> None:
    answer = sakura.put("/v1/visits/visit-1", content=content, headers={"Idempotency-Key": "key-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_json")


def test_another_organizations_visit_is_forbidden(honoka: RunningPartner, sakura: httpx.Client) -> None:
    put(sakura, "visit-1", "key-1")
    with honoka.client("momiji-care") as momiji:
        assert momiji.get("/v1/visits/visit-1").status_code == 403
        assert momiji.delete("/v1/visits/visit-1").status_code == 403
        assert put(momiji, "visit-1", "key-9").status_code == 403
        assert momiji.get("/v1/visits").json()["data"] == []


def test_tsubaki_gives_its_own_number_under_which_a_visit_is_changed_and_deleted(
    tsubaki: RunningPartner, hinata: httpx.Client
) -> None:
    created = hinata.post("/api/visits", json=TSUBAKI_VISIT)
    assert (created.status_code, created.json()["result"]["external_id"]) == (201, "visit-1")
    number = created.json()["result"]["visit_no"]
    assert hinata.put(f"/api/visits/{number}", json=TSUBAKI_VISIT | {"status": "9"}).status_code == 200
    assert [(visit["key"], visit["version"]) for visit in tsubaki.visits()] == [(number, 2)]
    assert hinata.delete(f"/api/visits/{number}").status_code == 200
    assert hinata.delete(f"/api/visits/{number}").status_code == 404
    assert hinata.put(f"/api/visits/{number}", json=TSUBAKI_VISIT).status_code == 404


def test_tsubaki_reads_back_by_external_id_and_by_week(hinata: httpx.Client) -> None:
    hinata.post("/api/visits", json=TSUBAKI_VISIT)
    hinata.post("/api/visits", json=TSUBAKI_VISIT | {"external_id": "visit-2"})
    found = hinata.get("/api/visits", params={"external_id": "visit-2"}).json()
    assert ([item["external_id"] for item in found["result"]["items"]], found["total"]) == (["visit-2"], 1)
    assert hinata.get("/api/visits", params={"external_id": "visit-3"}).json()["total"] == 0
    assert hinata.get("/api/visits", params={"week": "2026-11-23"}).json()["total"] == 2


def test_the_same_visit_posted_twice_at_tsubaki_is_counted_as_a_duplicate(
    tsubaki: RunningPartner, hinata: httpx.Client
) -> None:
    numbers = {hinata.post("/api/visits", json=TSUBAKI_VISIT).json()["result"]["visit_no"] for _ in range(3)}
    assert len(numbers) == 3
    assert tsubaki.duplicates() == [{"organization": "hinata-care", "external_id": "visit-1", "count": 3}]


def test_a_visit_posted_again_after_it_was_deleted_is_no_duplicate(
    tsubaki: RunningPartner, hinata: httpx.Client
) -> None:
    number = hinata.post("/api/visits", json=TSUBAKI_VISIT).json()["result"]["visit_no"]
    hinata.delete(f"/api/visits/{number}")
    hinata.post("/api/visits", json=TSUBAKI_VISIT)
    assert tsubaki.duplicates() == []
    assert len(tsubaki.visits()) == 1


def test_creations_at_the_same_time_draw_different_numbers(tsubaki: RunningPartner, hinata: httpx.Client) -> None:
    bodies = [TSUBAKI_VISIT | {"external_id": f"visit-{n}"} for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: hinata.post("/api/visits", json=body), bodies))
    assert len({answer.json()["result"]["visit_no"] for answer in answers}) == 40
    assert len(tsubaki.visits()) == 40
