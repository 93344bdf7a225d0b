"""``python -m benchmarks pages``: what the quality pages take with 200 partners and a year of runs in the database.

Measured over HTTP through the app with a login's cookie, from the request to the last byte.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg

import pages_server
from benchmarks.server import Servers, database

FILL = Path(__file__).with_suffix(".sql")
PARTNERS, DAYS, EXPECTATIONS, ROUNDS = 200, 365, 14, 15
#: For the fill; what is measured only reads.
SETTINGS = ("max_wal_size = 3GB", "autovacuum = off", "fsync = off", "full_page_writes = off")
#: The aim, in milliseconds.
AIM = 300


def report() -> str:
    """A table in Markdown, one line a page; says which page misses the aim."""
    with database(*SETTINGS) as servers:
        started = time.monotonic()
        rows = fill(servers)
        lines = [
            f"{rows:,} results of {PARTNERS} partners x {DAYS} days, filled in {time.monotonic() - started:.0f} s",
            "",
            "| page | median ms | slowest of 15 | bytes |",
            "| --- | ---: | ---: | ---: |",
        ]
        lines += list(measured(servers))
    return "\n".join(lines)


def fill(servers: Servers) -> int:
    """Everything by the owner, without the triggers of foreign keys; returns how many results."""
    text = FILL.read_text(encoding="utf-8").format(partners=PARTNERS, days=DAYS, expectations=EXPECTATIONS)
    with psycopg.connect(servers.admin_url, autocommit=True) as admin:
        admin.execute("set session_replication_role = replica")
        admin.execute("set work_mem = '256MB'")
        for command in text.split(";\n"):
            admin.execute(command.encode())
        row = admin.execute("select count(*) from quality.result").fetchone()
    return int(row[0]) if row else 0


def pages() -> dict[str, str]:
    """Each page as the heaviest of its kind that a person opens."""
    run = f"partner-100__master_sync/scheduled__{datetime.now(UTC):%Y-%m-%d}"
    return {
        "all partners, worst first": "/",
        "all partners, page 8": "/?order=name&number=8",
        "one partner and entity, 90 days": "/partners/partner-100?entity=patient",
        "the same, one organization, a year": "/partners/partner-100?entity=patient&organization=aoba&days=365",
        "one expectation, a year": "/partners/partner-100/patient/expectation_04",
        "findings open": "/findings",
        "findings closed, page 100": "/findings?state=closed&number=100",
        "findings of a partner": "/findings?partner=partner-100",
        "one run": f"/runs/partner-100/{run}",
        "quarantine": "/quarantine",
        "quarantine, page 100": "/quarantine?number=100",
        "quarantine of a partner": "/quarantine?partner=partner-100&entity=patient",
        "one record": "/quarantine/1234",
        "access log": "/audit",
    }


def measured(servers: Servers) -> Iterator[str]:
    """One line a page."""
    pages_server.use_people()
    os.environ["AIRFLOW_CONN_SYNC_PAGE"] = pages_server.connection_of(servers.url("page"))
    app = pages_server.whole_app()
    cookies = dict(pages_server.cookies("admin"))
    with pages_server.served(app) as address, httpx.Client(base_url=address, cookies=cookies) as browser:
        for name, path in pages().items():
            taken = []
            for _ in range(ROUNDS + 1):
                started = time.perf_counter()
                answer = browser.get(f"{pages_server.PREFIX}{path}")
                taken.append(1000 * (time.perf_counter() - started))
                answer.raise_for_status()
            missed = "" if statistics.median(taken[1:]) <= AIM else " (misses the aim)"
            size = len(answer.content)
            yield f"| {name}{missed} | {statistics.median(taken[1:]):.0f} | {max(taken[1:]):.0f} | {size:,} |"
