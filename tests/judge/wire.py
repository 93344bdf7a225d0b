"""As much of HTTP/1.1 as a judge needs: messages with a length, one after the other on a connection."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

LONGEST_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Message:
    """A request or an answer as it stood on the wire; header names in lower case."""

    start: str
    headers: dict[str, str]
    body: bytes
    raw: bytes = field(repr=False)

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def path(self) -> str:
        return urlsplit(self.start.split(" ")[1]).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.start.split(" ")[1]).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass(frozen=True)
class Reply:
    """What a partner answers; ``body`` becomes JSON."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        content = b"" if self.status == 204 else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} -", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != 204:
            lines.append(f"Content-Length: {len(content)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + content


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None when the other side has closed, also in the middle of one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Message(start, headers, body, head + body)


Handler = Callable[[Message], Awaitable[Reply]]


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    """Answer the requests of one connection in turn. A client that is gone does not stop the work on its request."""
    try:
        while (request := await read_message(reader)) is not None:
            writer.write((await handle(request)).encoded())
            await writer.drain()
    except ConnectionError:
        return  # The work was done; only its answer has nobody to go to.
    finally:
        writer.close()


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(connected: Connected, *, port: int = 0) -> None:
    """Listen on loopback until SIGTERM; prints the address when ready."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Connections that are still open at the end are cancelled, which asyncio would print as errors.
        with suppress(asyncio.CancelledError):
            await connected(reader, writer)

    server = await asyncio.start_server(quietly, "127.0.0.1", port, limit=LONGEST_HEAD_BYTES)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()
