"""A partner that keeps visits by our key or under numbers of its own, and whose answers a test can spoil."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from scripted_server import Came, Reply

#: What becomes of a good answer on its way: the test's script. None leaves it as it is.
Spoil = Callable[[Came, Reply], Reply | None]


@dataclass
class ScriptedPartner:
    """Answers as honoka does (``/v1/visits/{key}``) or as tsubaki does (``/api/visits``, named by the partner).

    ``refuse`` answers before anything is done, ``spoil`` after it. ``written`` lists every write that was done.
    """

    refuse: Callable[[Came], Reply | None] = lambda came: None
    spoil: Spoil = lambda came, reply: None
    visits: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: list[tuple[str, str | None]] = field(default_factory=list)

    def __call__(self, came: Came) -> Reply:
        if (refusal := self.refuse(came)) is not None:
            return replace(refusal)
        reply = self._by_key(came) if came.path.startswith("/v1/") else self._by_number(came)
        return replace(self.spoil(came, reply) or reply)

    def _by_key(self, came: Came) -> Reply:
        key = came.path.rpartition("/")[2]
        if came.method == "GET":
            return Reply(200, {"data": self.visits[key]}) if key in self.visits else Reply(404, b"")
        self._write(key, came)
        return Reply(200, {"data": {"key": key}})

    def _by_number(self, came: Came) -> Reply:
        if came.method == "GET":
            wanted = came.query.get("external_id")
            items = [visit for visit in self.visits.values() if visit["external_id"] == wanted]
            return Reply(200, {"result": {"items": items}})
        number = str(len(self.visits) + 1) if came.method == "POST" else came.path.rpartition("/")[2]
        self._write(number, came, visit_no=number)
        return Reply(201, {"result": {"visit_no": number, "external_id": json.loads(came.body)["external_id"]}})

    def _write(self, key: str, came: Came, **more: str) -> None:
        self.written.append((key, came.headers.get("idempotency-key")))
        self.visits[key] = json.loads(came.body) | {"key": key} | more
