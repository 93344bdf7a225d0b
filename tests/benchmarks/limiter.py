"""Durable grants a second over two scopes by two client processes, singly and by tens; no partner is called."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.server import database
from partner_sync.database import connect
from partner_sync.limiter import PrepaidGate, acquire, renew
from partner_sync.limits import Limit, Limits

SECONDS = 4.0
LIMITS = Limits(
    limits=(
        Limit(scope="vendor", requests=10_000_000, per_seconds=60),
        Limit(scope="organization", requests=10_000_000, per_seconds=60),
    )
)


def client(url: str, organization: str, count: int) -> int:
    """Take grants for a while; returns how many calls were granted."""
    with connect(url) as conn:
        facts = {"partner": "bench", "organization": organization, "limits": LIMITS, "call_class": "request"}
        grant = acquire(conn, **facts, count=count)  # type: ignore[arg-type]  # a dict of any facts
        granted = 0
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            grant = renew(conn, PrepaidGate(grant), count=count, endpoint=None)
            granted += grant.count
    return granted


def report() -> str:
    """A table in Markdown."""
    lines = ["| grants | calls a second |", "| --- | ---: |"]
    with database() as servers, ProcessPoolExecutor(2) as clients:
        for name, count in (("singly", 1), ("by tens", 10)):
            urls = [servers.url("push")] * 2
            granted = sum(clients.map(client, urls, ["sakura-care", "momiji-care"], [count] * 2))
            lines.append(f"| {name}, 2 clients, vendor and organization | {granted / SECONDS:,.0f} |")
    return "\n".join(lines)
