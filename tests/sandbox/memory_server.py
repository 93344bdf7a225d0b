"""``python -m sandbox.memory_server``: honoka's patients as bytes made once, so that a benchmark measures its reader.

The records come from Faker's pools, not from people of their own: a hundred thousand take about five seconds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import islice
from random import Random
from typing import Any
from urllib.parse import parse_qs

import orjson
import uvicorn

from sandbox import honoka_shapes as shapes
from sandbox.dirt import Dirt, plan_dirt, spoilt
from sandbox.people import Patient, Population
from sandbox.serving import listen
from sandbox.settings import DEFAULT_SEED

ORGANIZATION = "memory-care"
OFFICES = 3
CHANGED_SHARE = 0.10
Message = MutableMapping[str, Any]


class Library:
    """The pages of one generation as bytes."""

    def __init__(self, *, records: int, page_size: int, generation: int, dirty: float) -> None:
        self._population = Population(DEFAULT_SEED, ORGANIZATION, OFFICES)
        self._records = records
        self._page_size = page_size
        self._generation = generation
        self._dirt: Dirt = plan_dirt(Random(DEFAULT_SEED), patients=records, share=dirty, first_kind=0)
        changed = round(records * CHANGED_SHARE) if generation > 1 else 0
        self._changed = frozenset(Random(generation).sample(range(1, records + 1), changed))
        self.pages = self._made()

    def office_page(self) -> bytes:
        offices = [shapes.office(self._population.office(n + 1)) for n in range(OFFICES)]
        return _page_bytes(offices, page=1, limit=self._page_size, total=OFFICES)

    def _made(self) -> list[bytes]:
        """Every page; a duplicate key adds a record, so the total is a little more than asked for."""
        total = self._records + len(self._dirt.ordinals("duplicate_key"))
        size = self._page_size
        # One page of records at a time: half a million records as objects would not fit beside a benchmark.
        records = (record for n in range(self._records) for record in self._listed(n + 1))
        return [
            _page_bytes(list(islice(records, size)), page=n + 1, limit=size, total=total)
            for n in range(max(1, math.ceil(total / size)))
        ]

    def _listed(self, ordinal: int) -> list[dict[str, Any]]:
        patient = self._population.patient(ordinal)
        kind = self._dirt.by_ordinal.get(ordinal)
        versions = [patient] if kind is None else spoilt(patient, kind, twin=self._population.twin)
        return [self._written(version) for version in versions]

    def _written(self, patient: Patient) -> dict[str, Any]:
        record = shapes.patient(patient)
        if patient.ordinal in self._changed:
            street, phone = self._population.new_home(patient.ordinal, str(self._generation))
            record["address"]["street"], record["phone"] = street, phone
            record["updated_at"] = "2026-02-01T09:00:00+09:00"
        return record


def _page_bytes(records: list[dict[str, Any]], *, page: int, limit: int, total: int) -> bytes:
    last = max(1, math.ceil(total / limit))
    pagination = {"page": page, "limit": limit, "last_page": last, "total": total}
    return orjson.dumps({"data": records, "pagination": pagination})


class MemoryApp:
    """A raw ASGI application: looking up bytes is all it does."""

    def __init__(self, *, records: int, page_size: int, generation: int, dirty: float) -> None:
        self._records = records
        self._page_size = page_size
        self._dirty = dirty
        self._load(generation)

    def _load(self, generation: int) -> None:
        library = Library(records=self._records, page_size=self._page_size, generation=generation, dirty=self._dirty)
        self._pages = library.pages
        self._offices = library.office_page()
        self._beyond = _page_bytes([], page=0, limit=self._page_size, total=0)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        status, body = self._answer(scope)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: MutableMapping[str, Any]) -> tuple[int, bytes]:
        path = scope["path"]
        if path == "/v1/patients":
            return self._patients(parse_qs(scope["query_string"].decode()))
        if path == "/v1/offices":
            return 200, self._offices
        if path.startswith("/generation/") and scope["method"] == "POST":
            self._load(int(path.rpartition("/")[2]))
            return 200, b"{}"
        return 404, b'{"error": {"code": "not_found"}}'

    def _patients(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        page, limit = int(query.get("page", ["1"])[0]), int(query.get("limit", [str(self._page_size)])[0])
        if limit != self._page_size:
            return 400, b'{"error": {"code": "limit_is_fixed"}}'
        return 200, self._pages[page - 1] if 1 <= page <= len(self._pages) else self._beyond


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.memory_server", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--page-size", type=int, default=500)
    parser.add_argument("--generation", type=int, default=1)
    parser.add_argument("--dirty", type=float, default=0.02)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    listener = listen("127.0.0.1", arguments.port)
    app = MemoryApp(
        records=arguments.records,
        page_size=arguments.page_size,
        generation=arguments.generation,
        dirty=arguments.dirty,
    )
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, ws="none", lifespan="off", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
