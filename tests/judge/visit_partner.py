"""A strict partner for visits, which writes down what each call did: ``python -m judge.visit_partner --style keyed``.

keyed        POST /visits creates one each time, unless it carries an Idempotency-Key that was seen before; nothing can
             be read back
read_back    POST /visits creates one each time; GET /visits?external_id=... finds it
named        PUT /visits/{our id} creates or changes, in whatever order calls come; GET /visits/{our id} reads it back
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from judge.allowances import allowed_of
from judge.counting_partner import CountingPartner
from judge.wire import Message, Reply, serve, serve_connection

STYLES = ("keyed", "read_back", "named")


@dataclass
class Entry:
    """One call that arrived, and what it did to which visit. ``revision`` is what the sender wrote into ``note``."""

    number: int
    at: float
    method: str
    visit: str | None
    ref: str | None
    key: str | None
    revision: str | None
    did: str = "nothing"
    #: The order in which the work was done, which is not the order of arrival.
    done: int | None = None
    seconds: float = 0.0


class VisitPartner:
    """Visits by the partner's own reference. ``most_alike`` is the judgement: how many of one visit ever stood there
    at once.
    """

    def __init__(self, style: str, *, work_seconds: float, seed: int) -> None:
        self._style = style
        self._work_seconds = work_seconds
        self._random = random.Random(seed)
        self._refs = count(1)
        self._done = count(1)
        self._held: dict[str, dict[str, Any]] = {}
        self._standing: Counter[str] = Counter()
        self._answers: dict[str, tuple[tuple[str, bytes], Reply | None]] = {}
        self.most_alike: Counter[str] = Counter()
        self.journal: list[Entry] = []

    async def handle(self, request: Message) -> Reply:
        if request.path.startswith("/judge/"):
            return self._judged(request.path.removeprefix("/judge/"))
        body = request.json or {}
        key = request.headers.get("idempotency-key") if self._style == "keyed" else None
        last = request.path.removeprefix("/visits").strip("/") or None
        entry = Entry(
            len(self.journal), time.time(), request.method, body.get("external_id"), last, key, body.get("note")
        )
        self.journal.append(entry)
        started = time.monotonic()
        reply = await self._once(request, entry) if key else await self._worked(request, entry)
        entry.seconds = time.monotonic() - started
        return reply

    async def _once(self, request: Message, entry: Entry) -> Reply:
        """The same key and request: the stored answer, or 409 while the first is worked on."""
        asked = (request.start, request.body)
        if entry.key in self._answers:
            first, answer = self._answers[entry.key]
            entry.did = "reused" if first != asked else "replayed" if answer else "in_progress"
            return answer if answer and first == asked else Reply(422 if first != asked else 409, {})
        self._answers[entry.key or ""] = (asked, None)
        answer = await self._worked(request, entry)
        self._answers[entry.key or ""] = (asked, answer)
        return answer

    async def _worked(self, request: Message, entry: Entry) -> Reply:
        """The work takes a while before and after the moment at which it is done."""
        await asyncio.sleep(self._random.uniform(0, self._work_seconds))
        does = {"POST": self._create, "PUT": self._change, "DELETE": self._remove, "GET": self._find}[request.method]
        reply = does(request, entry)
        entry.done = next(self._done)
        await asyncio.sleep(self._random.uniform(0, self._work_seconds))
        return reply

    def _create(self, request: Message, entry: Entry) -> Reply:
        entry.ref = f"R{next(self._refs):06d}"
        return self._put(entry, request.json, status=201)

    def _change(self, request: Message, entry: Entry) -> Reply:
        if self._style != "named" and entry.ref not in self._held:
            entry.did = "unknown_ref"
            return Reply(404, {})
        return self._put(entry, request.json, status=200)

    def _put(self, entry: Entry, body: dict[str, Any], *, status: int) -> Reply:
        ref = entry.ref or ""
        entry.did = "changed" if ref in self._held else "created"
        if entry.did == "created":
            visit = body["external_id"]
            self._standing[visit] += 1
            self.most_alike[visit] = max(self.most_alike[visit], self._standing[visit])
        self._held[ref] = body
        return Reply(status, {"ref": ref})

    def _remove(self, _request: Message, entry: Entry) -> Reply:
        gone = self._held.pop(entry.ref or "", None)
        if gone is None:
            entry.did = "absent"
            return Reply(404, {})
        self._standing[gone["external_id"]] -= 1
        entry.did, entry.visit, entry.revision = "removed", gone["external_id"], gone["note"]
        return Reply(204)

    def _find(self, request: Message, entry: Entry) -> Reply:
        entry.did = "read"
        if self._style == "named":
            found = self._held.get(entry.ref or "")
            return Reply(200, {"visit": found}) if found else Reply(404, {})
        entry.visit = request.query.get("external_id")
        found = [{"ref": ref, **body} for ref, body in self._held.items() if body["external_id"] == entry.visit]
        return Reply(200, {"visits": found})

    def _judged(self, what: str) -> Reply:
        if what == "held":
            return Reply(body=list(self._held.values()))
        if what == "journal":
            return Reply(body=[asdict(entry) for entry in self.journal])
        return Reply(body={visit: most for visit, most in self.most_alike.items() if most > 1})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--work-seconds", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limits", default="[]", help="as judge.counting_partner takes them")
    chosen = parser.parse_args()
    visits = VisitPartner(chosen.style, work_seconds=chosen.work_seconds, seed=chosen.seed)
    limits = [allowed_of(document) for document in json.loads(chosen.limits)]
    partner = CountingPartner(limits, visits.handle, seed=chosen.seed)
    asyncio.run(serve(lambda reader, writer: serve_connection(reader, writer, partner.handle)))


if __name__ == "__main__":
    main()
