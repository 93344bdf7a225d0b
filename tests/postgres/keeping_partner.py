"""A partner that keeps visits in memory behind real HTTP and fails as it is told, and pushes to it as a task would."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from partner_made import made
from partner_sync.delivery.push import PushCounts, PushWork, push_organization
from partner_sync.delivery.release import release_week
from partner_sync.errors import LimitReachedError, PartnerSyncError, SettlingError
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.model import Partner
from partner_sync.weeks import Week
from postgres.product import PARTNER, WEEK, Product
from scripted_server import Came, Reply, ScriptedServer

MAP = {
    "id": "visit_id",
    "office": "office_key",
    "patient": "patient_key",
    "start": {"from": "start_at", "convert": "datetime", "zone": "Asia/Tokyo"},
    "status": {"from": "status", "convert": "code_map", "codes": "visit_status_digit"},
    "note": "note",
}
BY_KEY: dict[str, Any] = {
    "put": {"method": "PUT", "path": "/v1/visits/{key}", "idempotency_header": "Idempotency-Key"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{key}"},
    "read_back": {"path": "/v1/visits/{key}", "record_at": "data"},
    "map": MAP,
}
#: The partner names visits itself, and takes a second POST for a second visit.
BY_NAME: dict[str, Any] = {
    "post": {"method": "POST", "path": "/v1/visits"},
    "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{ref}"},
    "partner_ref": "data.no",
    "read_back": {
        "path": "/v1/visits", "parameters": {"id": "visit_id"}, "records_at": "data", "key_at": "id", "ref_at": "no",
    },
    "map": MAP,
}  # fmt: skip
#: What was granted, by whose limit counted it.
GRANTED = (
    "select b.owner, sum(l.calls)::integer from (select bucket_id, calls from sync.rate_ledger"
    " union all select bucket_id, calls from sync.rate_open) l join sync.rate_bucket b on b.id = l.bucket_id"
    " group by 1 order by 1"
)
QUICK = {"connect_seconds": 0.3, "read_seconds": 0.7, "settle_after_seconds": 1.0}


def partner_of(push: dict[str, Any], **top: Any) -> Partner:
    """A partner file for the linked partner; ``settle`` replaces the settle time without its bounds."""
    settle = top.pop("settle", None)
    limits = top.pop("limits", [{"scope": "organization", "requests": 100_000, "per_seconds": 60}])
    partner = made(push=push, **{"slug": PARTNER, "timeouts": QUICK, "limits": limits, "concurrency": 4, **top})
    if settle is None:
        return partner
    timeouts = partner.timeouts.model_copy(update={"settle_after_seconds": settle})
    return partner.model_copy(update={"timeouts": timeouts})


@dataclass
class Fault:
    """What happens to one call that changes something: before the work (then it is not done), or after it."""

    reply: Reply
    done: bool = False


DROP_BEFORE = Fault(Reply(drop=True))
DROP_AFTER = Fault(Reply(drop=True), done=True)


class KeepingPartner:
    """Context manager. ``faults`` meet the next changing calls; ``look_ups`` replaces the answers to GET."""

    def __init__(self) -> None:
        self.visits: dict[str, dict[str, Any]] = {}
        self.faults: deque[Fault] = deque()
        self.look_ups: Callable[[Came], Reply] | None = None
        self.wait_seconds: Callable[[Came], float] = lambda _came: 0.0
        self.most_in_flight = 0
        self._in_flight = 0
        self._named = 0
        self._answered: dict[str, Reply] = {}
        self._lock = threading.Lock()
        self.server = ScriptedServer(self._answer)

    def __enter__(self) -> KeepingPartner:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @property
    def held(self) -> list[tuple[str, str, str, str | None]]:
        """(visit, office, status, note) of everything that it holds."""
        return sorted((v["id"], v["office"], v["status"], v["note"] or "") for v in list(self.visits.values()))

    def calls(self, method: str) -> list[str]:
        return [came.path for came in list(self.server.came) if came.method == method]

    def forget(self, visit_id: str) -> None:
        """Somebody takes the visit away there."""
        self.visits = {name: visit for name, visit in self.visits.items() if visit["id"] != visit_id}

    def _answer(self, came: Came) -> Reply:
        with self._lock:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        time.sleep(self.wait_seconds(came))
        with self._lock:
            self._in_flight -= 1
            if came.method == "GET":
                return self.look_ups(came) if self.look_ups else self._found(came)
            fault = self.faults.popleft() if self.faults else None
            if fault and not fault.done:
                return fault.reply
            reply = self._kept(came)
            return fault.reply if fault else reply

    def _found(self, came: Came) -> Reply:
        if came.path == "/v1/visits":
            same = [visit for visit in self.visits.values() if visit["id"] == came.query.get("id")]
            return Reply(200, {"data": same})
        visit = self.visits.get(came.path.rpartition("/")[2])
        return Reply(200, {"data": visit}) if visit else Reply(404)

    def _kept(self, came: Came) -> Reply:
        key = came.headers.get("idempotency-key")
        if key is None:
            return self._done(came)
        if key not in self._answered:
            self._answered[key] = self._done(came)
        return self._answered[key]

    def _done(self, came: Came) -> Reply:
        name = came.path.rpartition("/")[2]
        if came.path == "/v1/visits/batch":
            return Reply(200, {"results": [self._keep(item["id"], item) for item in came.json["visits"]]})
        if came.method == "POST":
            self._named += 1
            name = f"N{self._named}"
            self.visits[name] = {**came.json, "no": name}
            return Reply(201, {"data": {"no": name}})
        if came.method == "DELETE":
            return Reply(204) if self.visits.pop(name, None) else Reply(404)
        if name.startswith("N") and name not in self.visits:
            return Reply(404)
        self._keep(name, came.json)
        return Reply(200, {"data": {"no": name}})

    def _keep(self, name: str, visit: dict[str, Any]) -> dict[str, str]:
        self.visits[name] = {**visit, "no": name}
        return {"id": name, "status": "ok"}


@dataclass
class Pushes:
    """A product's organization and the partner that it is pushed to."""

    product: Product
    keeping: KeepingPartner
    partner: Partner
    secret: str = "k"
    runs: int = field(default=0)

    def release(self, week: Week = WEEK, mode: str = "changes") -> None:
        self.runs += 1
        release_week(
            self.product.database.connect("release"), partner=PARTNER, organizations=[self.product.organization],
            week=week, mode=mode, requested_by="planner-1", run_key=f"release-{self.runs}",  # type: ignore[arg-type]
        )  # fmt: skip

    def open(self, gate: Gate) -> PartnerKind:
        return open_kind(self.partner, Access(base_url=self.keeping.server.base_url, secret=self.secret), gate)

    def push(self, *, seconds: float | None = None) -> PushCounts:
        self.runs += 1
        work = PushWork(
            partner=self.partner, organization=self.product.organization, run_key=f"push-{self.runs}",
            call_class="request", seconds=seconds,
        )  # fmt: skip
        conn = self.product.database.connect("push")
        try:
            return push_organization(conn, work, open_kind=self.open)
        finally:
            conn.close()

    def push_until_quiet(self, seconds: float = 30) -> None:
        """Push again and again; what waits for its next attempt is made due at once."""
        ends_at = time.monotonic() + seconds
        while True:
            try:
                return void(self.push())
            except (SettlingError, LimitReachedError) as waiting:
                left = (waiting.retry_at - datetime.now(UTC)).total_seconds()
            except PartnerSyncError:
                left = 0.05
            assert time.monotonic() < ends_at, "never quiet"
            time.sleep(min(max(left, 0.01), 0.1))
            self.all_due()

    def all_due(self) -> None:
        """As if the time of the next attempts had come."""
        admin = self.product.database.admin()
        admin.execute("update sync.todo set due_at = clock_timestamp() where due_at > clock_timestamp()")
        admin.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        admin = self.product.database.admin()
        found = [tuple(row.values()) for row in admin.execute(query)]
        admin.close()
        return found


def void(_counts: PushCounts) -> None:
    """The counts are not asked for."""
