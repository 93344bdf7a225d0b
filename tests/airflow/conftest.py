"""Airflow's side of the project, with Airflow's connections given by the environment as Airflow reads them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_for_tests import use_own_home

use_own_home()

PutConnection = Callable[..., None]


@pytest.fixture
def put_connection(monkeypatch: pytest.MonkeyPatch) -> PutConnection:
    """Make an Airflow connection for the length of a test."""

    def put(connection_id: str, **values: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(values))

    return put


@dataclass
class Receiver:
    """A real HTTP server that keeps what it gets, as (method, path, headers, JSON body)."""

    url: str
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    received: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        """Keeps each call and answers as ``found`` says."""

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            found.received.append((self.command, self.path, dict(self.headers), body))
            status, content = found.answers.get(self.path.partition("?")[0], (200, {}))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
