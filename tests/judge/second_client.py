"""Somebody else who uses the same quota and tells nobody: ``python -m judge.second_client --to URL --per-second 10``.

It calls evenly, whatever it is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from urllib.parse import urlsplit

from judge.wire import read_message, serve

ORGANIZATION = "second-client"


async def call_evenly(to: str, *, per_second: float) -> None:
    """Call for ever; a call that is answered late does not make the next ones later."""
    place = urlsplit(to)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    started, calls = time.monotonic(), 0
    while True:
        calls += 1
        head = f"PUT /visits/x HTTP/1.1\r\nAuthorization: Bearer {ORGANIZATION}\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(head.encode("ascii"))
        await read_message(reader)
        await asyncio.sleep(max(0.0, started + calls / per_second - time.monotonic()))


async def run(to: str, *, per_second: float) -> None:
    """Until SIGTERM; it listens to nothing but says so, as every process of this package does."""
    calling = asyncio.create_task(call_evenly(to, per_second=per_second))
    await serve(lambda _reader, writer: _closed(writer))
    calling.cancel()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--per-second", type=float, required=True)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.to, per_second=chosen.per_second))


if __name__ == "__main__":
    main()
