"""A partner that keeps visits in memory, in the shapes in which partners differ; real HTTP, and easy to damage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from partner_made import made
from partner_sync.partners.model import Partner
from scripted_server import Came, Reply

Shape = Literal["keyed", "named", "keyed, list only", "keyed, read-back only"]
SHAPES: tuple[Shape, ...] = ("keyed", "named", "keyed, list only", "keyed, read-back only")
TOKYO = timezone(timedelta(hours=9))
MAP = {
    "patient": "patient_key",
    "note": "note",
    "when.start": {"from": "start_at", "convert": "datetime", "zone": "Asia/Tokyo"},
    "when.end": {"from": "end_at", "convert": "datetime", "zone": "Asia/Tokyo"},
}
KEYED: dict[str, Any] = {
    "put": {"method": "PUT", "path": "/v1/visits/{key}"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{key}"},
    "read_back": {"path": "/v1/visits/{key}", "record_at": "data"},
    "list": {
        "path": "/v1/visits", "parameters": {"from": "week", "until": "next_week"},
        "records_at": "data", "key_at": "id",
        "paging": {"style": "page_number", "size": "size", "size_value": 2, "last_at": "last", "total_at": "total"},
    },
    "map": MAP,
}  # fmt: skip
NAMED: dict[str, Any] = {
    "post": {"method": "POST", "path": "/v1/visits"},
    "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{ref}"},
    "partner_ref": "number",
    "read_back": {
        "path": "/v1/visits", "parameters": {"ours": "visit_id"},
        "records_at": "data", "key_at": "ours", "ref_at": "number",
    },
    "list": {
        "path": "/v1/visits", "parameters": ["week"], "records_at": "data", "key_at": "ours", "ref_at": "number",
        "paging": {"style": "cursor", "next_at": "next", "cursor": "page"},
    },
    "map": {"ours": "visit_id", **MAP},
}  # fmt: skip


def partner_of(shape: Shape, *, settle_after_seconds: float = 0.2, **top: Any) -> Partner:
    """The partner file of such a partner, under the slug that the product of the tests is linked to."""
    push = dict(NAMED if shape == "named" else KEYED)
    if shape == "keyed, list only":
        push.pop("read_back")
        push["put"] = push["put"] | {"idempotency_header": "Idempotency-Key"}
    if shape == "keyed, read-back only":
        push.pop("list")
    limits = top.pop("limits", [{"scope": "organization", "requests": 5000, "per_seconds": 1}])
    found = made(push={"read_back": None, **push} if "read_back" not in push else push, limits=limits, **top)
    # On a busy machine an answer may be late, and would be lost; the settle time is short on purpose.
    times = {"connect_seconds": 10.0, "read_seconds": 20.0, "settle_after_seconds": settle_after_seconds}
    timeouts = found.timeouts.model_copy(update=times)
    return found.model_copy(update={"slug": "honoka", "timeouts": timeouts})


@dataclass
class Keeper:
    """What the partner holds: records by our id (keyed) or by its own number (named)."""

    named: bool
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0
    page_size: int = 2

    def answer(self, came: Came) -> Reply:
        name = came.path.removeprefix("/v1/visits").strip("/")
        if came.method == "GET":
            return self._one(name) if name else self._listed(came.query)
        if came.method == "DELETE":
            return Reply(204) if self.records.pop(name, None) else Reply(404, {})
        if came.method == "PUT" and self.named and name not in self.records:
            return Reply(404, {})
        return Reply(200, {"number": self.keep(came.json, name or None)})

    def keep(self, record: dict[str, Any], name: str | None = None) -> str:
        if name is None:
            self.made += 1
            name = f"N{self.made:04}"
        self.records[name] = record
        return name

    def names_of(self, visit_id: str) -> list[str]:
        """The records that carry our id."""
        if not self.named:
            return [visit_id] if visit_id in self.records else []
        return [name for name, record in self.records.items() if record.get("ours") == visit_id]

    def by_hand(self) -> int:
        """How many records carry no id of ours."""
        return sum(self.named and not record.get("ours") for record in self.records.values())

    def _one(self, name: str) -> Reply:
        found = self.records.get(name)
        return Reply(200, {"data": found}) if found else Reply(404, {})

    def _listed(self, query: dict[str, str]) -> Reply:
        shown = [self._shown(name) for name in sorted(self.records)]
        if "ours" in query:
            return Reply(200, {"data": [each for each in shown if each.get("ours") == query["ours"]]})
        monday = datetime.fromisoformat(query.get("week") or query["from"]).replace(tzinfo=TOKYO)
        week = [each for each in shown if monday <= _start(each) < monday + timedelta(days=7)]
        page = int(query.get("page", "1"))
        last = max(1, -(-len(week) // self.page_size))
        body = {
            "data": week[(page - 1) * self.page_size : page * self.page_size],
            "last": last,
            "total": len(week),
            "next": str(page + 1) if page < last else None,
        }
        return Reply(200, body)

    def _shown(self, name: str) -> dict[str, Any]:
        own = {"number": name} if self.named else {"id": name}
        return {**self.records[name], **own}


def _start(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["when"]["start"])
