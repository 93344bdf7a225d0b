"""``python -m benchmarks quality``: what the gate itself takes, and the memory of its process.

The slice is written by one statement, which is not counted. Each judgement is a process of its own: a process never
gives its peak back. The library is imported before the clock starts.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import LiteralString, cast

import psycopg

from benchmarks.memory import child_environment
from benchmarks.quality_child import ORGANIZATION, PARTNER, RUN_KEY, URL_VARIABLE
from benchmarks.server import Servers, database
from partner_sync.database import connect
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization

SIZES = (100_000, 1_000_000)


def report() -> str:
    """One line for each size and run of it: the second run finds its keys noted."""
    lines = [
        "2 % dirty; seconds after the import, memory of the process (most of it the import).",
        "",
        "| patients | run | expectations | seconds | before, MB | peak, MB | in quarantine |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        with database() as servers:
            _fill(servers, size)
            lines += [f"| {size:,} | {nth} | {_in_a_child(servers)} |" for nth in (1, 2)]
    return "\n".join(lines)


def _fill(servers: Servers, records: int) -> None:
    with connect(servers.url("onboarding")) as conn:
        add_organization(conn, code=ORGANIZATION, name="Memory Care")
        add_link(conn, Link(partner=PARTNER, organization=ORGANIZATION, connection_id="none", directions=("master",)))
        conn.execute("select staging.ensure_partition(%s)", [PARTNER])
    values = {"partner": PARTNER, "organization": ORGANIZATION, "run_key": RUN_KEY, "records": records}
    with psycopg.connect(servers.admin_url, autocommit=True) as admin:
        for text in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split(";\n"):
            admin.execute(cast("LiteralString", text), values)


def _in_a_child(servers: Servers) -> str:
    environment = child_environment() | {URL_VARIABLE: servers.url("validate")}
    command = [sys.executable, "-m", "benchmarks.quality_child"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()
