"""Bodies from a real server: packed, cut off and far too large; and JSON that is none."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import httpx
import pytest

from partner_made import made
from partner_sync.errors import BadAnswerError
from partner_sync.http.bodies import bounded_body
from partner_sync.http.client import Answer, PartnerClient, Request
from partner_sync.http.outcomes import Intent
from partner_sync.kinds.interface import Access
from scripted_server import OpenGate, Reply, ScriptedServer

BOUND = 1_000_000
READ = Intent(partner="trial", endpoint="GET /v1/patients")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def read(server: ScriptedServer, reply: Reply, *, most: int = BOUND) -> bytes | None:
    server.answer = reply
    with httpx.stream("GET", server.base_url, trust_env=False) as response:
        return bounded_body(response, most=most)


def packed(body: bytes, how: str = "gzip") -> Reply:
    return Reply(200, gzip.compress(body) if how.endswith("gzip") else zlib.compress(body), {"Content-Encoding": how})


@pytest.mark.parametrize("how", ["gzip", "x-gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("size", [0, 1, 300_000, 999_999, BOUND])
def test_a_packed_body_is_unpacked_up_to_the_bound(server: ScriptedServer, how: str, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    reply = Reply(200, packed(body, how.lower()).body, {"Content-Encoding": how})
    assert read(server, reply) == body


def test_a_body_that_is_small_only_packed_is_left_before_it_fills_the_memory(server: ScriptedServer) -> None:
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    assert len(bomb) < BOUND
    tracemalloc.start()
    try:
        assert read(server, Reply(200, bomb, {"Content-Encoding": "gzip"})) is None
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("how", ["gzip, gzip", "br", "zstd", "compress", "gzip, identity"])
def test_what_is_packed_in_a_way_that_was_not_asked_for_is_not_unpacked(server: ScriptedServer, how: str) -> None:
    reply = Reply(200, gzip.compress(gzip.compress(b"{}")), {"Content-Encoding": how})
    with pytest.raises(httpx.DecodingError):
        read(server, reply)


def test_a_packed_body_that_is_cut_off_is_no_whole_body(server: ScriptedServer) -> None:
    whole = gzip.compress(b'{"data": [1, 2, 3]}' * 1000)
    with pytest.raises(httpx.RemoteProtocolError):
        read(server, Reply(200, whole[:-9], {"Content-Encoding": "gzip"}))


def test_the_partner_is_asked_for_nothing_that_is_not_read(server: ScriptedServer) -> None:
    client = PartnerClient(made(), Access(base_url=server.base_url, secret="key"), OpenGate())
    client.call(READ, Request(path="/v1/patients"))
    client.close()
    assert server.came[0].headers["accept-encoding"] == "gzip"


def decoded(content: bytes) -> object:
    client = PartnerClient(made(), Access(base_url="https://host", secret="key"), OpenGate())
    try:
        return client.decoded(READ, Answer(status=200, content=content))
    finally:
        client.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><title>maintenance</title>",
        b'{"data": [{"id": ',
        b'{"data": NaN}',
        b'{"data": Infinity}',
        b"1e999",
        b"[" * 100_000 + b"]" * 100_000,
        '{"name": "山田"}'.encode("cp932"),
        '{"name": "山田"}'.encode("utf-16"),
        b'{"name": "\\ud800"}',
        b'{"a": 1} {"a": 2}',
        b"{'a': 1}",
    ],
)
def test_what_is_no_json_in_utf_8_is_a_bad_answer(content: bytes) -> None:
    with pytest.raises(BadAnswerError, match="not JSON"):
        decoded(content)


def test_a_byte_order_mark_is_left_aside() -> None:
    assert decoded(b'\xef\xbb\xbf{"data": []}') == {"data": []}


def test_of_two_values_under_one_name_the_last_counts() -> None:
    assert decoded(b'{"id": "a", "id": "b"}') == {"id": "b"}
