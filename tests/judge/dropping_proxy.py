"""A line that loses answers: ``python -m judge.dropping_proxy --to http://127.0.0.1:8700 --lost-answers 0.02``.

Of the calls, a share is forwarded and worked on and its answer is lost; another is lost before it is forwarded. The
connection is closed, or reset. ``GET /proxy/counts`` says how often.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter
from urllib.parse import urlsplit

from judge.wire import Message, Reply, read_message, serve


class DroppingProxy:
    """One upstream connection for each client connection."""

    def __init__(self, to: str, *, lost_answers: float, lost_calls: float, seed: int) -> None:
        self._to = urlsplit(to)
        self._lost_answers = lost_answers
        self._lost_calls = lost_calls
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            while (request := await read_message(reader)) is not None:
                answer = await self._answer(request, up_reader, up_writer)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            self.counts["sender_gone"] += 1
        finally:
            up_writer.close()
            if self._random.random() < 0.5:
                writer.transport.abort()
            writer.close()

    async def _answer(
        self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """What goes back to the sender; None: nothing does."""
        if request.path == "/proxy/counts":
            return Reply(body=dict(self.counts)).encoded()
        self.counts["calls"] += 1
        fate = self._random.random()
        if fate < self._lost_calls:
            self.counts["lost_calls"] += 1
            return None
        writer.write(request.raw)
        answer = await read_message(reader)
        if answer is None or fate < self._lost_calls + self._lost_answers:
            self.counts["lost_answers"] += 1
            return None
        return answer.raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True)
    parser.add_argument("--lost-answers", type=float, default=0.02)
    parser.add_argument("--lost-calls", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    shares = {"lost_answers": chosen.lost_answers, "lost_calls": chosen.lost_calls}
    asyncio.run(serve(DroppingProxy(chosen.to, **shares, seed=chosen.seed).connected))


if __name__ == "__main__":
    main()
