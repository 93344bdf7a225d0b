"""``python -m benchmarks.visit_server PORT_FILE [LATENCY_MS]``: a partner that takes every visit, as cheaply as can be.

In a process of its own, so that it takes none of the sender's time. It answers a PUT of a visit with the visit's id.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


class Visits(asyncio.Protocol):
    """HTTP/1.1 with kept connections; requests as httpx sends them, one at a time on a connection."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency_seconds = latency_seconds
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found or len(rest) < _length(head):
            return
        self._came = b""
        key = head[: head.index(b" HTTP/")].rpartition(b"/")[2]
        body = b'{"data": {"key": "' + key + b'"}}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if self._latency_seconds:
            asyncio.get_running_loop().call_later(self._latency_seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def _serve(port_file: Path, latency_seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Visits(latency_seconds), "127.0.0.1", 0)
    port_file.write_text(str(server.sockets[0].getsockname()[1]), encoding="ascii")
    await server.serve_forever()


@contextlib.contextmanager
def visit_server(latency_ms: float = 0) -> Iterator[str]:
    """The address of a running one."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "benchmarks.visit_server", str(port_file), str(latency_ms)]
        process = subprocess.Popen(command, cwd=TESTS)
        try:
            while not (port_file.exists() and port_file.read_text(encoding="ascii")):
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port_file.read_text(encoding='ascii')}"
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2]) / 1000))
