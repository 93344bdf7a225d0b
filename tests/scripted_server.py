"""A real HTTP server on loopback that answers what a test tells it to, and writes down what came."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from partner_sync.kinds.interface import Quota


@dataclass
class Came:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """One answer. ``body`` is sent as JSON unless it is bytes; ``cut`` announces more bytes than it sends; ``drop``
    ends the connection without an answer; ``wait_seconds`` before it; ``trickle_seconds`` before each of its bytes.

    ``raw``: these bytes in place of status, header fields and body, after which the connection ends.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    drop: bool = False
    wait_seconds: float = 0.0
    trickle_seconds: float = 0.0
    raw: bytes | None = None


Answering = Callable[[Came], Reply]


class ScriptedServer:
    """Context manager. ``answer`` may be replaced at any time; ``came`` lists the requests."""

    def __init__(self, answer: Answering | Reply | None = None) -> None:
        self.answer: Answering | Reply = answer or Reply()
        self.came: list[Came] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """Hands every call to the script."""

            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                outer.serve(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  # the names that http.server calls

            def log_message(self, *_values: object) -> None:
                """Nothing: tests read ``came``."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        came = Came(handler.command, parts.path, query, headers, body)
        self.came.append(came)
        reply = self.answer if isinstance(self.answer, Reply) else self.answer(came)
        time.sleep(reply.wait_seconds)
        _write(handler, reply)


def _write(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    if reply.drop:
        handler.close_connection = True
        return
    if reply.raw is not None:
        handler.close_connection = True
        _send(handler, reply.raw, trickle_seconds=reply.trickle_seconds)
        return
    content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    if reply.status != 204:
        handler.send_header("Content-Length", str(len(content) * 2 if reply.cut else len(content)))
    handler.end_headers()
    if reply.status != 204:
        _send(handler, content, trickle_seconds=reply.trickle_seconds)
    handler.close_connection = handler.close_connection or reply.cut


def _send(handler: BaseHTTPRequestHandler, content: bytes, *, trickle_seconds: float) -> None:
    # A client whose time ran out is gone by now.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if not trickle_seconds:
            handler.wfile.write(content)
            return
        for at in range(len(content)):
            time.sleep(trickle_seconds)
            handler.wfile.write(content[at : at + 1])


class OpenGate:
    """A gate that grants everything and writes down what was taken and heeded."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self.taken: list[str] = []
        self.heeded: list[tuple[int, str | None, datetime | None]] = []
        self.quotas: list[Quota] = []
        self.answers: list[bool] = []

    def take(self, endpoint: str) -> None:
        self.taken.append(endpoint)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        self.heeded.append((status, scope, retry_at))

    def told(self, quotas: Sequence[Quota]) -> None:
        self.quotas.extend(quotas)

    def answered(self, *, reached: bool) -> None:
        self.answers.append(reached)
