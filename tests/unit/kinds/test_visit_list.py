"""The visits that a partner lists for a week, and in which fields they differ from what would be sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from partner_made import made
from partner_sync.errors import BadAnswerError, ConfigError
from partner_sync.kinds.interface import Access, HeldVisit, PartnerKind, VisitCall
from partner_sync.kinds.registry import open_kind
from scripted_server import OpenGate, Reply, ScriptedServer

LIST: dict[str, Any] = {
    "path": "/v1/visits", "parameters": ["week", "organization"],
    "records_at": "data", "key_at": "ours", "ref_at": "no",
    "absent_when": {"from": "gone", "equals": [True]}, "paging": {"style": "cursor", "next_at": "next"},
}  # fmt: skip
MONDAY = date(2026, 11, 23)
VALUES = {
    "visit_id": "v1",
    "patient_key": "P-1",
    "start_at": datetime(2026, 11, 24, 0, tzinfo=UTC),
    "status": "planned",
}
RECORD = {"ours": "v1", "patient": "P-1", "when": {"start": "2026-11-24T09:00:00+09:00"}, "status": "1"}


@pytest.fixture
def kind(server: ScriptedServer) -> Iterator[PartnerKind]:
    opened = open_kind(made(push={"list": LIST}), Access(base_url=server.base_url, secret="k"), OpenGate())
    yield opened
    opened.close()


def listed(kind: PartnerKind, server: ScriptedServer, *records: object) -> list[tuple[str | None, str | None]]:
    server.answer = Reply(200, {"data": list(records)})
    [page] = kind.visits(MONDAY, "sakura")
    return [(held.visit_id, held.partner_ref) for held in page.visits]


def test_a_record_is_ours_by_what_stands_where_our_id_should(kind: PartnerKind, server: ScriptedServer) -> None:
    assert listed(kind, server, {"ours": "v1", "no": 7}, {"ours": "", "no": "8"}, {"no": "9"}, {"ours": ["v2"]}) == [
        ("v1", "7"), (None, "8"), (None, "9"), (None, None),
    ]  # fmt: skip


def test_what_the_partner_shows_as_taken_away_or_is_no_object_is_left_out(
    kind: PartnerKind, server: ScriptedServer
) -> None:
    assert listed(kind, server, {"ours": "v1", "gone": True}, "text", None, {"ours": "v2", "gone": False}) == [
        ("v2", None)
    ]


def test_a_name_that_would_climb_in_a_path_is_none(kind: PartnerKind, server: ScriptedServer) -> None:
    assert listed(kind, server, {"ours": "v1", "no": ".."}) == [("v1", None)]


def test_the_pages_are_followed_and_another_process_goes_on(kind: PartnerKind, server: ScriptedServer) -> None:
    server.answer = lambda came: Reply(
        200, {"data": [RECORD], "next": None if came.query.get("cursor") == "t2" else "t2"}
    )
    first, second = kind.visits(MONDAY, "sakura")
    assert (first.records, second.next_position) == (1, None)
    [again] = kind.visits(MONDAY, "sakura", position=first.next_position)
    assert again == second
    assert {came.query["week"] for came in server.came} == {"2026-11-23"}


def test_a_success_without_a_list_is_a_bad_answer(kind: PartnerKind, server: ScriptedServer) -> None:
    server.answer = Reply(200, {"error": {"code": "system_busy"}})
    with pytest.raises(BadAnswerError):
        list(kind.visits(MONDAY, "sakura"))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ()),
        ({"when": {"start": "2026-11-24T00:00:00Z"}}, ()),
        ({"patient": "P-2"}, ("patient",)),
        ({"when": {"start": "2026-11-24T10:00:00+09:00"}, "status": "9"}, ("when.start", "status")),
        ({"when": None}, ()),
        ({"patient": None}, ("patient",)),
        ({"note": "typed there"}, ()),
    ],
)
def test_differences_name_the_fields_that_are_shown_and_differ(
    kind: PartnerKind, changes: dict[str, Any], names: tuple[str, ...]
) -> None:
    held = HeldVisit(visit_id="v1", partner_ref=None, record=RECORD | changes)
    assert kind.differences(held, VALUES) == names


def test_a_value_that_has_no_form_at_the_partner_any_more_differs(kind: PartnerKind) -> None:
    held = HeldVisit(visit_id="v1", partner_ref=None, record=RECORD)
    assert kind.differences(held, VALUES | {"status": "unheard of"}) == ("status",)


def test_a_read_back_names_the_fields_too(kind: PartnerKind, server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORD | {"patient": "P-2"}})
    call = VisitCall(visit_id="v1", action="put", week=MONDAY, idempotency_key="k", values=VALUES)
    found = kind.read_back(call)
    assert (found.found, found.fields) == ("different", ("patient",))


def test_without_a_list_in_its_file_a_partner_cannot_be_asked_for_one(server: ScriptedServer) -> None:
    opened = open_kind(made(), Access(base_url=server.base_url, secret="k"), OpenGate())
    with pytest.raises(ConfigError):
        opened.visits(MONDAY, "sakura")
    opened.close()
