"""Sending, taking away and reading back, against a scripted server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from partner_made import made
from partner_sync.errors import (
    AnotherVisitNamedError,
    BadAnswerError,
    ConfigError,
    OutcomeUnknownError,
    PartnerUnavailableError,
    RejectedRequestError,
    UnmappableVisitError,
    VisitGoneError,
    VisitNameUnknownError,
)
from partner_sync.kinds.interface import Accepted, Access, Presence
from partner_sync.kinds.registry import open_kind
from partner_sync.kinds.rest_json import RestJsonKind
from scripted_server import OpenGate, Reply, ScriptedServer
from unit.kinds.visit_calls import START, visit

OPENED: list[RestJsonKind] = []
POSTING: dict[str, Any] = {
    "post": {"method": "POST", "path": "/v1/visits", "accepted_at": "data.no"},
    "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{ref}"},
    "partner_ref": "data.no",
    "read_back": {
        "path": "/v1/visits", "parameters": {"ours": "visit_id", "week": "week"},
        "records_at": "data", "key_at": "ours", "ref_at": "no",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(server: ScriptedServer, gate: OpenGate | None = None, **push: Any) -> RestJsonKind:
    OPENED.append(RestJsonKind(made(push=push), Access(base_url=server.base_url, secret="k"), gate or OpenGate()))
    return OPENED[-1]


HELD = {"patient": "P-1", "when": {"start": "2026-11-23T09:30:00+09:00"}, "status": "1"}


def test_a_visit_is_put_under_our_key_with_the_mapped_body(server: ScriptedServer) -> None:
    assert opened(server).send(visit()) == Accepted(status=200)
    came = server.came[0]
    assert (came.method, came.path) == ("PUT", "/v1/visits/v-1")
    assert came.json == HELD == opened(server).request_body(visit())


def test_an_idempotency_key_is_that_of_one_item_and_one_body(server: ScriptedServer) -> None:
    kind = opened(server)
    other = {"values": {"patient_key": "P-2"}}
    for call in (visit(), visit(), visit(**other), visit(idempotency_key="key-2")):
        kind.send(call)
    first, again, *others = [came.headers["idempotency-key"] for came in server.came]
    assert first == again
    assert len({first, *others}) == 3
    assert kind.binding_key(visit()) is None, "another form of a PUT makes no second visit"


def test_only_a_call_that_creates_under_a_key_is_bound_to_its_form(server: ScriptedServer) -> None:
    keyed = {name: {**POSTING[name], "idempotency_header": "Idempotency-Key"} for name in ("post", "put")}
    kind = opened(server, **{**POSTING, **keyed})
    assert (
        kind.binding_key(visit())
        == kind.binding_key(visit())
        != kind.binding_key(visit(values={"status": "performed"}))
    )
    assert kind.binding_key(visit(partner_ref="V1")) is None


def test_a_key_cannot_leave_its_place_in_the_path(server: ScriptedServer) -> None:
    gate = OpenGate()
    opened(server, gate).send(visit(visit_id="../a?b#c/日"))
    assert server.came[0].path == "/v1/visits/..%2Fa%3Fb%23c%2F%E6%97%A5"
    assert gate.taken == ["PUT /v1/visits/{key}"]


@pytest.mark.parametrize("status", [200, 204, 404, 410])
def test_taking_away_what_is_there_or_gone_is_accepted(server: ScriptedServer, status: int) -> None:
    server.answer = Reply(status)
    assert opened(server).send(visit(action="withdraw")).status == status
    assert (server.came[0].method, server.came[0].body) == ("DELETE", b"")


def test_a_value_without_a_code_at_the_partner_is_rejected_without_a_call(server: ScriptedServer) -> None:
    with pytest.raises(UnmappableVisitError) as raised:
        opened(server).send(visit(values={"status": "dreamt"}))
    assert isinstance(raised.value, RejectedRequestError)
    assert raised.value.facts["fields"] == ("status: unmapped_code",)
    assert server.came == []


@pytest.mark.parametrize("body", [b"", b"not json", b'{"error": {"code": "busy"}}', b"[]"])
def test_a_success_that_does_not_say_so_in_its_body_is_unknown(server: ScriptedServer, body: bytes) -> None:
    server.answer = Reply(200, body)
    put = {"method": "PUT", "path": "/v1/visits/{key}", "accepted_at": "data.key"}
    with pytest.raises(OutcomeUnknownError):
        opened(server, put=put).send(visit())


def test_a_success_of_another_status_than_the_file_says_is_unknown(server: ScriptedServer) -> None:
    put = {"method": "PUT", "path": "/v1/visits/{key}", "accepted_status": [201]}
    with pytest.raises(OutcomeUnknownError):
        opened(server, put=put).send(visit())


@pytest.mark.parametrize(("named", "known"), [("v-2", True), ({}, True), (None, False), ("", False)])
def test_an_answer_that_names_another_visit_or_none_is_unknown(
    server: ScriptedServer, named: Any, *, known: bool
) -> None:
    kind = opened(server, put={"method": "PUT", "path": "/v1/visits/{key}", "key_at": "data.key"})
    server.answer = Reply(200, {"data": {"key": "v-1"}})
    assert kind.send(visit()).status == 200
    server.answer = Reply(200, {"data": {"key": named}})
    with pytest.raises(OutcomeUnknownError) as raised:
        kind.send(visit())
    assert isinstance(raised.value, AnotherVisitNamedError) == known


@pytest.mark.parametrize(("action", "status"), [("put", 200), ("put", 204), ("withdraw", 200), ("withdraw", 204)])
def test_an_answer_without_content_is_an_acceptance(server: ScriptedServer, action: str, status: int) -> None:
    server.answer = Reply(status)
    put = {"method": "PUT", "path": "/v1/visits/{key}", "key_at": "data.key"}
    assert opened(server, put=put).send(visit(action=action)) == Accepted(status=status)


@pytest.mark.parametrize("action", ["put", "withdraw"])
def test_a_page_that_is_no_json_is_no_acceptance(server: ScriptedServer, action: str) -> None:
    server.answer = Reply(200, b"<!doctype html><title>maintenance</title>", {"Content-Type": "text/html"})
    with pytest.raises(OutcomeUnknownError):
        opened(server).send(visit(action=action))


@pytest.mark.parametrize("status", [404, 410])
def test_a_change_by_the_partners_name_of_a_visit_that_is_gone_there_says_so(
    server: ScriptedServer, status: int
) -> None:
    server.answer = lambda came: Reply(200, {"data": []}) if came.method == "GET" else Reply(status)
    with pytest.raises(VisitGoneError):
        opened(server, **POSTING).send(visit(partner_ref="V1"))
    assert [came.method for came in server.came] == ["PUT", "GET"]
    with pytest.raises(RejectedRequestError):
        opened(server).send(visit())


FOUND = {**HELD, "ours": "v-1", "no": "V1"}


@pytest.mark.parametrize(
    ("shown", "error"),
    [
        (Reply(200, {"data": [FOUND]}), OutcomeUnknownError),
        (Reply(200, {"data": [{**FOUND, "no": None}]}), VisitNameUnknownError),
        (Reply(404, b"<html>deploying</html>"), OutcomeUnknownError),
        (Reply(503), PartnerUnavailableError),
    ],
    ids=["there", "there without a name", "nobody can say", "away"],
)
def test_a_404_by_name_is_no_proof_as_long_as_a_look_up_does_not_say_so_too(
    server: ScriptedServer, shown: Reply, error: type[Exception]
) -> None:
    server.answer = lambda came: shown if came.method == "GET" else Reply(404)
    with pytest.raises(error) as raised:
        opened(server, **POSTING).send(visit(partner_ref="V1"))
    assert type(raised.value) is error


def test_a_name_that_nobody_knows_is_for_a_person(server: ScriptedServer) -> None:
    server.answer = Reply(404)
    kind = opened(server, **{**POSTING, "read_back": None})
    for call in (visit(partner_ref="V1"), visit(held=True), visit(action="withdraw")):
        with pytest.raises(VisitNameUnknownError):
            kind.send(call)
    assert [came.method for came in server.came] == ["PUT"]


def test_a_visit_that_is_held_without_a_name_is_found_before_it_is_changed(server: ScriptedServer) -> None:
    server.answer = lambda came: Reply(200, {"data": [FOUND]} if came.method == "GET" else {"data": {"no": "V1"}})
    assert opened(server, **POSTING).send(visit(held=True)).partner_ref == "V1"
    assert [(came.method, came.path) for came in server.came] == [("GET", "/v1/visits"), ("PUT", "/v1/visits/V1")]


def test_a_visit_that_was_held_without_a_name_and_is_no_longer_there_is_gone(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": []})
    with pytest.raises(VisitGoneError):
        opened(server, **POSTING).send(visit(held=True))


def test_an_item_that_first_changes_and_then_creates_uses_no_idempotency_key_twice(server: ScriptedServer) -> None:
    keyed = {name: {**POSTING[name], "idempotency_header": "Idempotency-Key"} for name in ("post", "put")}
    kind = opened(server, **{**POSTING, **keyed})
    server.answer = Reply(200, {"data": {"no": "V1"}})
    kind.send(visit(partner_ref="V1"))
    kind.send(visit(partner_ref="V1"))
    kind.send(visit())
    keys = [came.headers["idempotency-key"] for came in server.came]
    assert keys[0] == keys[1] != keys[2]


def test_a_new_visit_is_posted_and_named_by_the_partner(server: ScriptedServer) -> None:
    server.answer = Reply(201, {"data": {"no": "V1"}})
    kind = opened(server, **POSTING)
    assert kind.send(visit()) == Accepted(status=201, partner_ref="V1")
    kind.send(visit(partner_ref="V1"))
    assert [(came.method, came.path) for came in server.came] == [("POST", "/v1/visits"), ("PUT", "/v1/visits/V1")]


@pytest.mark.parametrize("ref", [None, "", "..", 1.5, {}])
def test_a_posted_visit_without_a_usable_name_is_unknown(server: ScriptedServer, ref: Any) -> None:
    server.answer = Reply(201, {"data": {"no": ref}})
    with pytest.raises(OutcomeUnknownError):
        opened(server, **POSTING).send(visit())


def test_a_visit_that_has_no_name_yet_is_looked_up_before_it_is_taken_away(server: ScriptedServer) -> None:
    server.answer = lambda came: Reply(
        200, {"data": [{**HELD, "ours": "v-1", "no": "V7"}]} if came.method == "GET" else {}
    )
    gate = OpenGate()
    opened(server, gate, **POSTING).send(visit(action="withdraw"))
    assert gate.taken == ["GET /v1/visits", "DELETE /v1/visits/{ref}"]
    assert server.came[1].path == "/v1/visits/V7"


def test_nothing_is_taken_away_when_the_partner_does_not_have_the_visit(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": []})
    assert opened(server, **POSTING).send(visit(action="withdraw")).status == 404
    assert [came.method for came in server.came] == ["GET"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Reply(200, {"data": HELD}), "same"),
        (Reply(200, {"data": {**HELD, "when": {"start": "2026-11-23T00:30:00Z"}}}), "same"),
        (Reply(200, {"data": {**HELD, "when": {"start": "2026-11-23T09:30:00"}}}), "same"),
        (Reply(200, {"data": {"patient": "P-1", "version": 3}}), "same"),
        (Reply(200, {"data": {**HELD, "patient": "P-2"}}), "different"),
        (Reply(200, {"data": {**HELD, "when": {"start": None}}}), "different"),
        (Reply(200, {"data": {"version": 3}}), "different"),
        (Reply(404), "absent"),
        (Reply(410), "absent"),
    ],
)
def test_a_visit_is_read_back_by_its_path(server: ScriptedServer, reply: Reply, found: str) -> None:
    server.answer = reply
    assert opened(server).read_back(visit()).found == found
    assert (server.came[0].method, server.came[0].path) == ("GET", "/v1/visits/v-1")


def test_a_visit_that_can_no_longer_be_written_is_not_the_same(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": HELD})
    assert opened(server).read_back(visit(values={"status": "no longer mapped"})).found == "different"


@pytest.mark.parametrize("body", [{}, {"error": "busy"}, {"data": None}, {"data": []}, [], b"no json"])
def test_a_read_back_that_shows_no_visit_is_a_bad_answer_and_never_absent(server: ScriptedServer, body: Any) -> None:
    server.answer = Reply(200, body)
    with pytest.raises(BadAnswerError):
        opened(server).read_back(visit())


def test_a_visit_is_found_in_a_list_by_our_key(server: ScriptedServer) -> None:
    other = {**HELD, "ours": "v-2", "no": "V8"}
    server.answer = Reply(200, {"data": [other, 7, {**HELD, "ours": "v-1", "no": "V7"}]})
    assert opened(server, **POSTING).read_back(visit()) == Presence(found="same", partner_ref="V7")
    assert server.came[0].query == {"ours": "v-1", "week": "2026-11-23"}


def test_a_list_without_our_visit_means_absent(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": [{"ours": "v-2", "no": "V8"}]})
    assert opened(server, **POSTING).read_back(visit()) == Presence(found="absent")


def test_a_list_without_our_visit_that_is_not_complete_is_a_bad_answer(server: ScriptedServer) -> None:
    back = {**POSTING["read_back"], "paging": {"style": "page_number", "last_at": "last", "total_at": "total"}}
    kind = opened(server, **{**POSTING, "read_back": back})
    server.answer = Reply(200, {"data": [{"ours": "v-2", "no": "V8"}], "last": 1, "total": 2})
    with pytest.raises(BadAnswerError):
        kind.read_back(visit())
    server.answer = Reply(200, {"data": [FOUND], "last": 1, "total": 2})
    assert kind.read_back(visit()).found == "same"


BEFORE = {"patient_key": "P-1", "start_at": START, "status": "planned"}


@pytest.mark.parametrize(
    ("changes", "shows", "found"),
    [
        ({"held": True, "before": BEFORE}, {"patient"}, "different"),
        ({"held": True, "before": BEFORE}, {"patient", "when"}, "different"),
        ({"held": True, "before": BEFORE}, {"patient", "status"}, "same"),
        ({"held": True}, {"patient", "status"}, "different"),
        ({"held": True}, {"patient", "when", "status"}, "same"),
        ({}, {"patient"}, "same"),
    ],
)
def test_only_a_field_that_was_to_change_and_is_shown_proves_a_change(
    server: ScriptedServer, changes: dict[str, Any], shows: set[str], found: str
) -> None:
    """The status was to change."""
    now = {**HELD, "status": "2"}
    server.answer = Reply(200, {"data": {name: value for name, value in now.items() if name in shows}})
    call = visit(values={"status": "performed"}, **changes)
    assert opened(server).read_back(call).found == found
    unkeyed = opened(server, put={"method": "PATCH", "path": "/v1/visits/{key}"})
    assert unkeyed.read_back(call).found == {"different": "unproven"}.get(found, found)


def test_a_record_that_is_marked_as_taken_away_is_absent(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": {**HELD, "gone": True}})
    back = {"path": "/v1/visits/{key}", "record_at": "data", "absent_when": {"from": "gone", "equals": [True]}}
    assert opened(server, read_back=back).read_back(visit()).found == "absent"


def test_since_is_written_with_an_offset(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": []})
    partner = made(entity={"incremental": {"parameter": "since", "field": "at", "zone": "Asia/Tokyo"}})
    kind = open_kind(partner, Access(base_url=server.base_url, secret="k"), OpenGate())
    list(kind.pages("patient", since=START))
    kind.close()
    assert server.came[0].query["since"] == "2026-11-23T09:30:00+09:00"


def test_an_entity_or_a_push_that_the_file_does_not_have_is_a_config_error(server: ScriptedServer) -> None:
    with pytest.raises(ConfigError):
        opened(server).pages("office")
    kind = RestJsonKind(
        made().model_copy(update={"push": None}), Access(base_url=server.base_url, secret="k"), OpenGate()
    )
    OPENED.append(kind)
    with pytest.raises(ConfigError):
        kind.send(visit())
