"""Calls a second of a push without limits, against a bare loop with the same HTTP library, bodies, server and number of
calls in flight, in the same run. The bare loop knows no grant, claims nothing and writes nothing down.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from benchmarks.server import Servers, database
from benchmarks.sync import PARTNER_FILE
from benchmarks.visit_server import visit_server
from partner_sync.database import Connection, connect
from partner_sync.delivery.plan import sample_calls
from partner_sync.delivery.push import PushWork, push_organization
from partner_sync.delivery.release import release_week
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.loader import load_partner
from partner_sync.partners.model import Limit, Partner
from postgres.product import WEEK, Product, make_product
from scripted_server import OpenGate

CONCURRENCIES = (1, 4, 16)
NO_LIMIT = Limit(scope="organization", requests=100_000_000, per_seconds=60)


@dataclass(frozen=True)
class Bench:
    """One organization with visits of a released week."""

    servers: Servers
    product: Product
    partner: Partner

    def connect(self, writer: str) -> Connection:
        return connect(self.servers.url(writer))

    def plan_visits(self, count: int) -> None:
        start = WEEK.monday
        rows = [
            {
                "visit_id": f"v{number:06}", "revision": 1, "organization": "sakura", "office_id": 1, "patient_id": 11,
                "practitioner_id": 21, "start_at": f"{start + timedelta(days=number % 7)}T01:00:00Z",
                "end_at": f"{start + timedelta(days=number % 7)}T02:00:00Z", "note": "bring the scales",
            }
            for number in range(count)
        ]  # fmt: skip
        for first in range(0, count, 500):
            self.product.apply(visits=rows[first : first + 500])
        self.product.week("finalized")

    def release(self, run_key: str, *, organization: str = "sakura") -> None:
        """All visits of an organization are due again."""
        release_week(
            self.connect("release"), partner="honoka", organizations=[organization], week=WEEK, mode="resend",
            requested_by="bench", run_key=run_key,
        )  # fmt: skip

    def opened(self, base_url: str, gate: Gate) -> PartnerKind:
        return open_kind(self.partner, Access(base_url=base_url, secret="none"), gate)

    def bodies(self, base_url: str, count: int) -> list[tuple[str, Mapping[str, object]]]:
        visits = [f"v{number:06}" for number in range(count)]
        calls = sample_calls(self.connect("release"), partner="honoka", visits=visits)
        kind = self.opened(base_url, OpenGate())
        try:
            return [(call.visit_id, kind.request_body(call)) for call in calls]
        finally:
            kind.close()


def bare_loop(base_url: str, bodies: Sequence[tuple[str, Mapping[str, Any]]], *, concurrency: int) -> float:
    """Seconds that the calls take, each checked for success."""

    def put(one: tuple[str, Mapping[str, Any]]) -> None:
        key, body = one
        headers = {"Idempotency-Key": key, "Authorization": "Bearer none"}
        client.put(f"{base_url}/v1/visits/{key}", json=body, headers=headers).raise_for_status()

    with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(concurrency) as threads:
        started = time.perf_counter()
        list(threads.map(put, bodies))
        return time.perf_counter() - started


def our_push(bench: Bench, base_url: str, *, run_key: str) -> float:
    """Seconds from the begin of a push until every answer is written down."""
    bench.release(run_key)
    work = PushWork(partner=bench.partner, organization="sakura", run_key=run_key, call_class="request")
    with bench.connect("push") as conn:
        started = time.perf_counter()
        counts = push_organization(conn, work, open_kind=lambda gate: bench.opened(base_url, gate))
        taken = time.perf_counter() - started
    if set(counts.outcomes) != {"accepted"}:
        raise SystemExit("Not all were accepted.")
    return taken


class Writers:
    """The writers' connections, as the practice product takes them."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def connect(self, writer: str) -> Connection:
        return connect(self._servers.url(writer))


def measure(visits: int, *, rounds: int = 6, latency_ms: float = 0) -> dict[int, tuple[float, float]]:
    """Calls a second by concurrency: of the bare loop and of ours, the best of some rounds taken in turn."""
    file = load_partner(PARTNER_FILE)
    if not isinstance(file, Partner):
        raise TypeError(file)
    found: dict[int, tuple[float, float]] = {}
    with database() as servers, visit_server(latency_ms) as base_url:
        product = make_product(Writers(servers), organization="sakura")  # type: ignore[arg-type]  # connect is all it needs
        for concurrency in CONCURRENCIES:
            partner = file.model_copy(update={"limits": (NO_LIMIT,), "concurrency": concurrency})
            bench = Bench(servers, product, partner)
            if not found:
                bench.plan_visits(visits)
            bodies = bench.bodies(base_url, visits)
            bare, ours = [], []
            for number in range(rounds):
                bare.append(bare_loop(base_url, bodies, concurrency=concurrency))
                ours.append(our_push(bench, base_url, run_key=f"bench-{concurrency}-{number}"))
            found[concurrency] = (visits / min(bare), visits / min(ours))
    return found


def report(visits: int = 1500, *, latency_ms: float = 0) -> str:
    """A table in Markdown."""
    lines = ["| calls in flight | bare loop, calls/s | push, calls/s | ratio |", "| ---: | ---: | ---: | ---: |"]
    for concurrency, (bare, ours) in measure(visits, latency_ms=latency_ms).items():
        lines.append(f"| {concurrency} | {bare:,.0f} | {ours:,.0f} | {ours / bare:.2f} |")
    return "\n".join(lines)
