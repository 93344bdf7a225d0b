"""Several visits in one call: only one clear result is one, everything else is unknown (a real, scripted server)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from partner_made import made
from partner_sync.errors import (
    BadAnswerError,
    BatchRefusedError,
    OutcomeUnknownError,
    PartnerSyncError,
    RateLimitedError,
    RejectedRequestError,
    UnmappableVisitError,
)
from partner_sync.kinds.interface import Accepted, Access, VisitCall
from partner_sync.kinds.rest_json import RestJsonKind
from scripted_server import OpenGate, Reply, ScriptedServer

START = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
SHAPE: dict[str, Any] = {
    "size": 3, "items_at": "visits", "key_in": "id", "results_at": "results", "key_at": "id",
    "ok_when": {"from": "status", "equals": ["ok"]}, "error_at": {"code": "error.code", "field": "error.field"},
}  # fmt: skip
BATCH = {
    "put": {"method": "POST", "path": "/v1/visits/batch", "idempotency_header": "Idempotency-Key", **SHAPE},
    "withdraw": {"method": "POST", "path": "/v1/visits/delete", **SHAPE},
}


@pytest.fixture
def kind(server: ScriptedServer) -> Iterator[RestJsonKind]:
    partner = made(push={"batch": BATCH})
    opened = RestJsonKind(partner, Access(base_url=server.base_url, secret="k"), OpenGate())
    yield opened
    opened.close()


def visits(*names: str, action: Any = "put", **values: Any) -> list[VisitCall]:
    given = {"patient_key": "P-1", "start_at": START, "end_at": START + timedelta(hours=1), "status": "planned"}
    return [
        VisitCall(
            visit_id=name, action=action, week=date(2026, 11, 23), idempotency_key=f"key-{name}", values=given | values
        )
        for name in names
    ]


def ok(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "status": "ok"} for name in names]


def came_to(found: Sequence[Accepted | PartnerSyncError]) -> list[str]:
    return [type(each).__name__ for each in found]


def test_several_visits_leave_in_one_call_and_each_result_is_its_own(
    server: ScriptedServer, kind: RestJsonKind
) -> None:
    refused = {"id": "b", "status": "ng", "error": {"code": "unknown", "field": "patient"}}
    server.answer = Reply(200, {"results": [*ok("c", "a"), refused]})
    found = kind.send_batch(visits("a", "b", "c"))
    assert came_to(found) == ["Accepted", "RejectedRequestError", "Accepted"]
    assert isinstance(found[1], RejectedRequestError)
    assert found[1].facts["fields"] == ("patient: unknown",)
    assert [item["id"] for item in server.came[0].json["visits"]] == ["a", "b", "c"]
    assert server.came[0].json["visits"][0]["when"]["start"] == "2026-11-23T09:30:00+09:00"
    assert len(server.came) == 1


@pytest.mark.parametrize(
    "results",
    [
        ok("a"),
        [*ok("a", "b"), *ok("b")],
        [*ok("a"), {"id": "b"}],
        [*ok("a"), {"id": "b", "status": "ng"}],
        [*ok("a"), {"id": "b", "status": "ng", "error": {}}],
        [*ok("a", "stranger"), 7, None],
        [*ok("a"), {"status": "ok"}],
    ],
    ids=["fewer", "twice", "says nothing", "no code", "no error", "another visit's", "nameless"],
)
def test_a_visit_without_one_clear_result_is_unknown_and_never_accepted(
    server: ScriptedServer, kind: RestJsonKind, results: list[Any]
) -> None:
    server.answer = Reply(200, {"results": results})
    assert came_to(kind.send_batch(visits("a", "b"))) == ["Accepted", "OutcomeUnknownError"]


@pytest.mark.parametrize("body", [b"", b"<html>", {}, {"results": {}}, {"results": None}, []])
def test_an_answer_without_results_leaves_all_of_them_unknown(
    server: ScriptedServer, kind: RestJsonKind, body: Any
) -> None:
    server.answer = Reply(200, body)
    with pytest.raises(OutcomeUnknownError):
        kind.send_batch(visits("a", "b"))


def test_the_same_items_have_the_same_key_in_any_order_and_others_another(
    server: ScriptedServer, kind: RestJsonKind
) -> None:
    server.answer = Reply(200, {"results": ok("a", "b", "c")})
    for names in ("ab", "ba", "abc"):
        kind.send_batch(visits(*names))
    keys = [came.headers["idempotency-key"] for came in server.came]
    assert keys[0] == keys[1] != keys[2]


def test_a_visit_that_cannot_be_written_is_left_out_and_rejected_by_itself(
    server: ScriptedServer, kind: RestJsonKind
) -> None:
    server.answer = Reply(200, {"results": ok("a")})
    found = kind.send_batch([*visits("a"), *visits("b", status="dreamt")])
    assert came_to(found) == ["Accepted", "UnmappableVisitError"]
    assert [item["id"] for item in server.came[0].json["visits"]] == ["a"]
    assert came_to(kind.send_batch(visits("b", status="dreamt"))) == ["UnmappableVisitError"]
    assert isinstance(found[1], UnmappableVisitError)
    assert len(server.came) == 1


def test_a_batch_that_is_refused_as_a_whole_says_so_and_a_batch_of_one_is_rejected(
    server: ScriptedServer, kind: RestJsonKind
) -> None:
    server.answer = Reply(422, {"errors": [{"field": "patient", "code": "unknown"}]})
    with pytest.raises(BatchRefusedError):
        kind.send_batch(visits("a", "b"))
    with pytest.raises(RejectedRequestError) as rejected:
        kind.send_batch(visits("a"))
    assert rejected.value.facts["fields"] == ("patient: unknown",)


@pytest.mark.parametrize(
    ("status", "error"), [(404, BadAnswerError), (429, RateLimitedError), (500, OutcomeUnknownError)]
)
def test_what_is_true_of_the_whole_call_is_raised(
    server: ScriptedServer, kind: RestJsonKind, status: int, error: type[PartnerSyncError]
) -> None:
    server.answer = Reply(status)
    with pytest.raises(error):
        kind.send_batch(visits("a", "b"))


def test_visits_are_taken_away_by_their_names_alone(server: ScriptedServer, kind: RestJsonKind) -> None:
    server.answer = Reply(200, {"results": ok("a", "b")})
    assert came_to(kind.send_batch(visits("a", "b", action="withdraw"))) == ["Accepted", "Accepted"]
    assert server.came[0].json == {"visits": [{"id": "a"}, {"id": "b"}]}
    assert (server.came[0].method, server.came[0].path) == ("POST", "/v1/visits/delete")


def test_a_partner_that_names_visits_has_to_name_each_in_its_result(server: ScriptedServer) -> None:
    push = {
        "post": {"method": "POST", "path": "/v1/visits"},
        "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
        "withdraw": {"method": "DELETE", "path": "/v1/visits/{ref}"},
        "partner_ref": "no",
        "read_back": {"path": "/v1/visits/{key}", "record_at": "data", "ref_at": "no"},
        "batch": {"post": {"method": "POST", "path": "/v1/visits/batch", **SHAPE, "ref_at": "no"}},
    }
    kind = RestJsonKind(made(push=push), Access(base_url=server.base_url, secret="k"), OpenGate())
    server.answer = Reply(200, {"results": [{**ok("a")[0], "no": "V1"}, {**ok("b")[0], "no": ".."}]})
    found = kind.send_batch(visits("a", "b"))
    kind.close()
    assert found[0] == Accepted(status=200, partner_ref="V1")
    assert came_to(found) == ["Accepted", "OutcomeUnknownError"]
    assert [kind.batch_size("put", named=named) for named in (False, True)] == [3, 1]
    assert kind.endpoint_of("put", named=False) == "POST /v1/visits/batch"
    assert kind.endpoint_of("put", named=True) == "PUT /v1/visits/{ref}"


def test_a_visit_that_is_held_under_a_name_that_nobody_knows_is_in_no_batch(server: ScriptedServer) -> None:
    push = {**BY_REF, "batch": {"post": {"method": "POST", "path": "/v1/visits/batch", **SHAPE, "ref_at": "no"}}}
    kind = RestJsonKind(made(push=push), Access(base_url=server.base_url, secret="k"), OpenGate())
    assert kind.batch_size("put", named=False, held=True) == 1
    assert kind.endpoint_of("put", named=False, held=True) == "PUT /v1/visits/{ref}"
    kind.close()


NAMED_BACK = {"path": "/v1/visits/{key}", "record_at": "data", "ref_at": "no"}
GONE = {"gone_when": {"from": "error.code", "equals": ["not_found"]}}
BY_REF: dict[str, Any] = {
    "post": {"method": "POST", "path": "/v1/visits"},
    "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{ref}"},
    "partner_ref": "no",
    "read_back": NAMED_BACK,
    "batch": {name: {**section, **GONE, "ref_in": "no"} for name, section in BATCH.items()},
}


@pytest.mark.parametrize(("action", "came"), [("put", "VisitGoneError"), ("withdraw", "Accepted")])
def test_a_visit_that_is_gone_at_the_partner_is_no_refusal(server: ScriptedServer, action: str, came: str) -> None:
    kind = RestJsonKind(made(push=BY_REF), Access(base_url=server.base_url, secret="k"), OpenGate())
    results = [{"id": "a", "error": {"code": "not_found"}}, {"id": "b", "error": {"code": "locked"}}]
    server.answer = Reply(200, {"results": [*results, *ok("c")]})
    named = [replace(call, partner_ref=f"V-{call.visit_id}") for call in visits("a", "b", "c", action=action)]
    found = kind.send_batch(named)
    kind.close()
    assert came_to(found) == [came, "RejectedRequestError", "Accepted"]
    assert [item["no"] for item in server.came[0].json["visits"]] == ["V-a", "V-b", "V-c"]


@pytest.mark.parametrize(
    "push",
    [
        {"batch": BATCH, "read_back": None},
        {"batch": {}},
        {"batch": {"put": {**BATCH["put"], "size": 1}}},
        {"batch": {"put": {**BATCH["put"], "path": "/v1/visits/{key}"}}},
        {"batch": {"put": {key: value for key, value in BATCH["put"].items() if key != "key_in"}}},
        {"batch": {"withdraw": {key: value for key, value in BATCH["withdraw"].items() if key != "key_in"}}},
        {"batch": {"post": BATCH["put"]}},
        {"batch": {"put": {**BATCH["put"], **GONE}}},
        {**BY_REF, "batch": {"post": {**BATCH["put"], **GONE, "ref_at": "no"}}},
    ],
    ids=[
        "no read-back",
        "nothing",
        "of one",
        "of one visit",
        "nameless",
        "nothing to name it",
        "no post",
        "gone and no post",
        "gone before it was there",
    ],
)
def test_a_batch_that_could_not_be_settled_is_refused_in_the_file(push: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(push=push)
