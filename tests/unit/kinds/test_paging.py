"""Every style of paging against a real server, and what goes wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_made import made
from partner_sync.errors import BadAnswerError, PagingLoopError, PartnerSyncError, RateLimitedError
from partner_sync.kinds.interface import Access, Page, PartnerKind
from partner_sync.kinds.paging import ListingFault, Received, advance, paginator
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.master import CursorPaging
from scripted_server import Came, OpenGate, Reply, ScriptedServer

RECORDS = [{"id": f"P-{number}"} for number in range(5)]
SIZE = {"size": "limit", "size_value": 2}


def by_page(came: Came, *, first: int = 1, **more: Any) -> Reply:
    start = (int(came.query["page"]) - first) * 2
    return Reply(200, {"data": RECORDS[start : start + 2], "last": first + 2, "total": 5, **more})


def by_offset(came: Came) -> Reply:
    start = int(came.query["offset"])
    return Reply(200, {"data": RECORDS[start : start + 2], "total": 5})


def by_cursor(came: Came) -> Reply:
    start = int(came.query.get("cursor", "t0")[1:])
    following = f"t{start + 2}" if start + 2 < 5 else None
    return Reply(200, {"data": RECORDS[start : start + 2], "next": following})


def by_link(came: Came) -> Reply:
    start = int(came.query.get("from", "0"))
    links = {"Link": f'</v1/patients?from={start + 2}>; rel="next", </x>; rel="last"'} if start + 2 < 5 else {}
    return Reply(200, {"data": RECORDS[start : start + 2]}, links)


STYLES: dict[str, tuple[dict[str, Any], Callable[[Came], Reply]]] = {
    "last page in the body": ({"style": "page_number", "last_at": "last", "total_at": "total"}, by_page),
    "until a short page": ({"style": "page_number", **SIZE}, by_page),
    "from page 0": ({"style": "page_number", "first": 0, **SIZE}, lambda came: by_page(came, first=0)),
    "link header": ({"style": "link_header"}, by_link),
    "offset and total": ({"style": "offset_total", "total_at": "total"}, by_offset),
    "cursor": ({"style": "cursor", "next_at": "next", **SIZE}, by_cursor),
    "until empty": ({"style": "until_empty"}, by_page),
}


OPENED: list[PartnerKind] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(server: ScriptedServer, **entity: Any) -> PartnerKind:
    OPENED.append(open_kind(made(entity=entity), Access(base_url=server.base_url, secret="k"), OpenGate()))
    return OPENED[-1]


def pages(server: ScriptedServer, paging: dict[str, Any], position: Any = None) -> Iterator[Page]:
    return opened(server, paging=paging).pages("patient", position=position)


def fault(server: ScriptedServer, paging: dict[str, Any]) -> PartnerSyncError:
    with pytest.raises(PartnerSyncError) as raised:
        list(itertools.islice(pages(server, paging), 50))
    return raised.value


@pytest.mark.parametrize("style", STYLES)
def test_every_style_lists_each_record_once(server: ScriptedServer, style: str) -> None:
    paging, server.answer = STYLES[style]
    found = list(pages(server, paging))
    assert [record for page in found for record in page.records] == RECORDS
    assert [page.number for page in found] == list(range(1, len(found) + 1))
    assert found[-1].next_position is None
    assert not any(page.repeated for page in found)


@pytest.mark.parametrize("style", STYLES)
def test_another_process_goes_on_after_any_page(server: ScriptedServer, style: str) -> None:
    paging, server.answer = STYLES[style]
    seen: list[object] = []
    position: Any = {}
    while position is not None:
        page = next(pages(server, paging, json.loads(json.dumps(position))))
        seen += page.records
        position = page.next_position
    assert seen == RECORDS


def test_a_total_is_passed_on(server: ScriptedServer) -> None:
    paging, server.answer = STYLES["last page in the body"]
    assert [page.total for page in pages(server, paging)] == [5, 5, 5]


def test_size_and_fixed_parameters_are_sent(server: ScriptedServer) -> None:
    server.answer = by_page
    next(opened(server, parameters={"active": True, "kind": 3}).pages("patient"))
    assert server.came[0].query == {"active": "true", "kind": "3", "limit": "2", "page": "1"}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "system_busy"}},
        {"data": {"id": "P-1"}},
        {"data": None},
        [],
        "text",
        None,
    ],
)
def test_a_success_without_a_list_of_records_is_a_bad_answer(server: ScriptedServer, body: Any) -> None:
    server.answer = Reply(200, body)
    assert isinstance(fault(server, {"style": "until_empty"}), BadAnswerError)


@pytest.mark.parametrize("content", [b"", b"not json", b'{"data": [', b'{"data": ["\\ud800"]}', b"\xff\xfe"])
def test_a_page_that_is_not_json_is_a_bad_answer(server: ScriptedServer, content: bytes) -> None:
    server.answer = Reply(200, content)
    assert isinstance(fault(server, {"style": "until_empty"}), BadAnswerError)


def test_an_empty_list_is_one_empty_page(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": [], "last": 1})
    found = list(pages(server, {"style": "page_number", "last_at": "last"}))
    assert [len(page.records) for page in found] == [0]


def test_an_empty_page_before_the_last_one_is_a_bad_answer(server: ScriptedServer) -> None:
    server.answer = lambda came: Reply(200, {"data": RECORDS[:2] if came.query["page"] == "1" else [], "last": 3})
    assert isinstance(fault(server, {"style": "page_number", "last_at": "last"}), BadAnswerError)


def test_an_empty_page_before_the_total_is_a_bad_answer(server: ScriptedServer) -> None:
    server.answer = lambda came: Reply(200, {"data": RECORDS[:2] if came.query["offset"] == "0" else [], "total": 5})
    assert isinstance(fault(server, {"style": "offset_total", "total_at": "total"}), BadAnswerError)


@pytest.mark.parametrize("count", [None, "many", -1, 1.5, True, {}])
def test_a_count_that_is_none_is_a_bad_answer(server: ScriptedServer, count: Any) -> None:
    server.answer = Reply(200, {"data": RECORDS[:2], "last": count})
    assert isinstance(fault(server, {"style": "page_number", "last_at": "last"}), BadAnswerError)


def test_a_repeated_page_is_marked(server: ScriptedServer) -> None:
    shown = {"1": 0, "2": 0, "3": 4}
    server.answer = lambda came: Reply(200, {"data": RECORDS[shown[came.query["page"]] :][:2], "last": 3})
    found = pages(server, {"style": "page_number", "last_at": "last"})
    assert [page.repeated for page in found] == [False, True, False]


def test_a_partner_that_leaves_the_page_number_aside_is_a_loop(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORDS[:2]})
    assert isinstance(fault(server, {"style": "until_empty"}), PagingLoopError)
    assert len(server.came) == 3


def test_a_cursor_that_leads_to_itself_is_a_loop(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORDS, "next": "same"})
    assert isinstance(fault(server, {"style": "cursor", "next_at": "next"}), PagingLoopError)
    assert len(server.came) == 2


def test_a_link_that_leads_to_its_own_page_is_a_loop(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORDS}, {"Link": '</v1/patients?page=2>; rel="next"'})
    assert isinstance(fault(server, {"style": "link_header"}), PagingLoopError)


FULL = {"style": "cursor", "next_at": "meta.next", **SIZE}


@pytest.mark.parametrize("more", [{}, {"meta": {}}, {"meta": {"nxt": "t2"}}, {"next": "t2"}, {"meta": None}])
def test_a_full_first_page_that_does_not_say_whether_it_is_the_last_is_a_bad_answer(
    server: ScriptedServer, more: dict[str, Any]
) -> None:
    server.answer = Reply(200, {"data": RECORDS[:2], **more})
    error = fault(server, FULL)
    assert isinstance(error, BadAnswerError)
    assert "meta.next" in str(error)


@pytest.mark.parametrize("end", [None, "", False])
def test_a_full_first_page_that_says_that_it_is_the_last_is_all(server: ScriptedServer, end: object) -> None:
    server.answer = Reply(200, {"data": RECORDS[:2], "meta": {"next": end}})
    assert len(list(pages(server, FULL))) == 1


def test_a_short_first_page_without_a_token_is_all(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORDS[:1]})
    assert len(list(pages(server, FULL))) == 1


def test_with_a_total_a_partner_may_leave_the_token_out(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": RECORDS[:2], "total": 2})
    assert [page.total for page in pages(server, {**FULL, "total_at": "total"})] == [2]


def test_a_full_last_page_without_a_token_is_the_end(server: ScriptedServer) -> None:
    def answer(came: Came) -> Reply:
        start = int(came.query.get("cursor", "0"))
        return Reply(200, {"data": RECORDS[start : start + 2], **({"meta": {"next": "2"}} if start == 0 else {})})

    server.answer = answer
    assert len(list(pages(server, FULL))) == 2


@pytest.mark.parametrize("token", [{"page": 2}, ["x"], 1.5, True, "x" * 9000])
def test_a_token_of_another_type_is_a_bad_answer(server: ScriptedServer, token: Any) -> None:
    server.answer = Reply(200, {"data": RECORDS, "next": token})
    assert isinstance(fault(server, {"style": "cursor", "next_at": "next"}), BadAnswerError)


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:1/v1/patients", "https://127.0.0.1/", "//evil.example/x", "http://["]
)
def test_a_link_to_another_server_is_never_asked(server: ScriptedServer, target: str) -> None:
    server.answer = Reply(200, {"data": RECORDS}, {"Link": f'<{target}>; rel="next"'})
    error = fault(server, {"style": "link_header"})
    assert isinstance(error, BadAnswerError)
    assert "evil" not in str(error)


def test_a_stored_position_of_another_server_is_never_asked(server: ScriptedServer) -> None:
    with ScriptedServer() as elsewhere:
        position = {"number": 1, "at": f"{elsewhere.base_url}/v1/patients"}
        with pytest.raises(BadAnswerError):
            next(pages(server, {"style": "link_header"}, position))
        assert elsewhere.came == []


def test_after_a_429_the_list_goes_on_where_it_stopped(server: ScriptedServer) -> None:
    calls = iter([by_page, lambda _came: Reply(429), by_page, by_page])

    def in_turn(came: Came) -> Reply:
        return next(calls)(came)

    server.answer = in_turn
    paging = STYLES["last page in the body"][0]
    listed = pages(server, paging)
    first = next(listed)
    with pytest.raises(RateLimitedError):
        next(listed)
    rest = list(pages(server, paging, first.next_position))
    assert [*first.records, *(record for page in rest for record in page.records)] == RECORDS


def test_a_record_that_is_nested_beyond_writing_is_handed_on(server: ScriptedServer) -> None:
    server.answer = Reply(200, b'{"data": [' + b"[" * 900 + b"]" * 900 + b", 123456789012345678901234567890]}")
    found = list(pages(server, {"style": "page_number", "size": "limit", "size_value": 500}))
    assert [len(page.records) for page in found] == [2]


@given(tail=st.integers(min_value=0, max_value=40), loop=st.integers(min_value=1, max_value=40))
def test_a_loop_of_any_length_is_found_although_each_page_is_read_by_another_process(tail: int, loop: int) -> None:
    style = paginator(CursorPaging(style="cursor", next_at="next"))

    def read(turns: int) -> None:
        position: Any = {}
        page = 0
        for turn in range(turns):
            page = page + 1 if page + 1 < tail + loop else tail
            answer = Received(body={"next": f"t{page}"}, records=[{"id": turn}])
            position = json.loads(json.dumps(advance(style, position, answer=answer).position))

    with pytest.raises(ListingFault) as raised:
        read(5 * (tail + loop) + 10)
    assert raised.value.loop


@given(st.integers(min_value=1, max_value=300))
def test_a_list_without_a_loop_is_never_called_one(length: int) -> None:
    style = paginator(CursorPaging(style="cursor", next_at="next"))
    position: Any = {}
    for number in range(1, length + 1):
        answer = Received(body={"next": f"t{number}"}, records=[{"id": number}])
        position = advance(style, position, answer=answer).position
    assert position["number"] == length
