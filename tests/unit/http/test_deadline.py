"""A call ends in time whatever the partner does with its bytes: real sockets that trickle, or do not read."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpcore
import pytest

from partner_made import made
from partner_sync.errors import (
    OutcomeUnknownError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    RejectedRequestError,
)
from partner_sync.http import wire
from partner_sync.http.client import PartnerClient, Request
from partner_sync.http.outcomes import Intent
from partner_sync.kinds.interface import Access
from scripted_server import OpenGate

READ = Intent(partner="trial", endpoint="GET /v1/patients")
CHANGE = Intent(partner="trial", endpoint="PUT /v1/visits/{key}", changes=True)
TIMES = {"connect_seconds": 0.2, "read_seconds": 0.5, "settle_after_seconds": 1}
#: Far less than a read may take, so that only the call as a whole is late.
PAUSE_SECONDS = 0.05
#: A call has 0.7 seconds; what comes is enough for twenty.
LATEST_SECONDS = 5.0
PUT = Request(path="/v1/visits/v-1", body={"status": "1"})
LARGE = Request(path="/v1/visits/v-1", body={"note": "x" * 60_000_000})
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Serving = Callable[[socket.socket], None]


class Peer:
    """Hands each connection to ``serve``, in a thread; ``closed`` is set when the other side has gone."""

    def __init__(self, serve: Serving) -> None:
        self.serve = serve
        self.closed = threading.Event()
        self._listening = socket.socket()
        # Small, so that little of a request is on its way unread; it must be said before the first connection.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        self.port = self._listening.getsockname()[1]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._hand_out, args=(connection,), daemon=True).start()

    def _hand_out(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.serve(connection)
            except OSError:
                self.closed.set()

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    opened = Peer(lambda _connection: None)
    yield opened
    opened.close()


@pytest.fixture
def client(peer: Peer) -> Iterator[PartnerClient]:
    access = Access(base_url=f"http://127.0.0.1:{peer.port}", secret="k")
    opened = PartnerClient(made(timeouts=TIMES), access, OpenGate())
    yield opened
    opened.close()


def came_whole(connection: socket.socket) -> None:
    """Read a request with a small body."""
    came = b""
    while b"\r\n\r\n" not in came or (came.startswith(b"PUT") and not came.endswith(b"}")):
        came += connection.recv(4096)


def trickling(before: bytes, again: bytes) -> Serving:
    """Answers with ``before``, and then with ``again``, a piece every moment, until nobody listens."""

    def serve(connection: socket.socket) -> None:
        came_whole(connection)
        connection.sendall(before)
        for _ in range(400):
            time.sleep(PAUSE_SECONDS)
            connection.sendall(again)

    return serve


def ended(client: PartnerClient, intent: Intent, request: Request = PUT) -> PartnerSyncError:
    """The error of a call that must be over soon."""
    began = time.monotonic()
    with pytest.raises(PartnerSyncError) as raised:
        client.call(intent, request)
    assert time.monotonic() - began < LATEST_SECONDS
    return raised.value


TRICKLES = {
    "status_line": (b"HTTP/1.1 200 O", b"K"),
    "header_field": (OK + b"X-Filler: ", b"x"),
    "header_fields": (OK, b"X-Filler: x\r\n"),
    "interim_answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (OK + b"Content-Length: 400\r\n\r\n", b"x"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk_of_one": (OK + b"Transfer-Encoding: chunked\r\n\r\n190\r\n", b"x"),
    "without_length": (OK + b"Connection: close\r\n\r\n", b"x"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-Filler: x\r\n"),
}


@pytest.mark.parametrize("name", TRICKLES)
@pytest.mark.parametrize(("intent", "error"), [(CHANGE, OutcomeUnknownError), (READ, PartnerUnavailableError)])
def test_an_answer_that_trickles_ends_with_the_call_and_its_connection(
    peer: Peer, client: PartnerClient, name: str, intent: Intent, error: type[PartnerSyncError]
) -> None:
    peer.serve = trickling(*TRICKLES[name])
    found = ended(client, intent, PUT if intent.changes else Request(path="/v1/patients"))
    assert isinstance(found, error)
    assert peer.closed.wait(LATEST_SECONDS)


def test_after_a_call_that_was_late_the_next_one_gets_through(peer: Peer, client: PartnerClient) -> None:
    peer.serve = trickling(*TRICKLES["chunks"])
    ended(client, CHANGE)

    def well(connection: socket.socket) -> None:
        came_whole(connection)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    peer.serve = well
    assert client.call(CHANGE, PUT).content == b"{}"


def test_a_refusal_whose_text_trickles_is_still_that_refusal(peer: Peer, client: PartnerClient) -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 400\r\n\r\n"
    peer.serve = trickling(head, b"x")
    assert isinstance(ended(client, CHANGE), RateLimitedError)


def test_a_request_that_is_taken_in_slowly_ends_with_the_call(peer: Peer, client: PartnerClient) -> None:
    def sip(connection: socket.socket) -> None:
        while connection.recv(65_536):
            time.sleep(PAUSE_SECONDS)

    peer.serve = sip
    assert isinstance(ended(client, CHANGE, LARGE), OutcomeUnknownError)


def test_an_answer_that_comes_before_the_whole_request_is_taken_in_counts(peer: Peer, client: PartnerClient) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    peer.serve = refuse
    assert isinstance(ended(client, CHANGE, LARGE), RejectedRequestError)


def test_the_header_section_and_the_body_of_a_request_leave_together(peer: Peer, client: PartnerClient) -> None:
    came: list[bytes] = []

    def look(connection: socket.socket) -> None:
        came.append(connection.recv(65_536))
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    peer.serve = look
    client.call(CHANGE, PUT)
    assert came[0].endswith(b'{"status":"1"}')


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def trickle_a_handshake(connection: socket.socket) -> None:
    connection.recv(4096)
    # The head of a record of 16,000 bytes, which then come one by one.
    connection.sendall(b"\x16\x03\x03\x3e\x80")
    for _ in range(400):
        time.sleep(PAUSE_SECONDS)
        connection.sendall(b"x")


@pytest.mark.parametrize("serve", [say_nothing, trickle_a_handshake])
def test_a_handshake_that_does_not_end_was_surely_not_followed_by_a_request(peer: Peer, serve: Serving) -> None:
    peer.serve = serve
    access = Access(base_url=f"https://127.0.0.1:{peer.port}", secret="k")
    client = PartnerClient(made(timeouts=TIMES), access, OpenGate())
    try:
        assert isinstance(ended(client, CHANGE), PartnerUnavailableError)
    finally:
        client.close()


def test_each_error_of_httpcore_has_its_own_in_httpx() -> None:
    bases = {httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError}
    # Raised and caught inside of a pool.
    inside = {httpcore.ConnectionNotAvailable}
    errors = {each for _, each in inspect.getmembers(httpcore, inspect.isclass) if issubclass(each, Exception)}
    assert set(wire._OF_HTTPX) == errors - bases - inside
