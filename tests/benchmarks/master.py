"""``python -m benchmarks master``: a whole master sync of patients against the floor, in the same run.

Imports are done and the database is warm before anything is counted; the floor runs before and after each sync and
counts by its mean, so that a machine that gets slower meanwhile slows both.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import psycopg

from benchmarks import floor
from benchmarks.memory import child_environment
from benchmarks.server import database
from benchmarks.sync import MasterSync
from sandbox.running import MemoryServer

STEPS = ("extract", "validate", "merge")
GENERATIONS = (("first load", 1), ("second generation, 10 % changed", 2), ("the same again", 2))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Seconds of one generation."""

    name: str
    floor_seconds: float
    seconds: dict[str, float]
    changes: str

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def line(self) -> str:
        steps = " | ".join(f"{self.seconds[step]:.2f}" for step in STEPS)
        total = self.total_seconds
        sums = f"{self.floor_seconds:.2f} | {total:.2f} | {total / self.floor_seconds:.2f}"
        return f"| {self.name} | {sums} | {steps} | {self.changes} |"


def measure(*, records: int, page_size: int, dirty: float, loads: int = len(GENERATIONS)) -> list[Figures]:
    """First load, a second generation with a tenth changed, and the same again; or the first so many of them."""
    with MemoryServer(records=records, page_size=page_size, dirty=dirty) as server, database() as servers:
        sync = MasterSync(servers, server.base_url)
        try:
            sync.run("office", "warm")
            with psycopg.connect(servers.admin_url, autocommit=True) as admin:
                floor.prepare(admin)
                floor.run(admin, server.base_url, page_size)
                floor.prepare(admin)
                return list(islice(_generations(sync, server, admin, page_size), loads))
        finally:
            sync.close()


def _generations(
    sync: MasterSync, server: MemoryServer, admin: psycopg.Connection, page_size: int
) -> Iterator[Figures]:
    for name, generation in GENERATIONS:
        if generation > 1:
            server.generation(generation)
        empty = generation == 1
        before_seconds = _floor_seconds(admin, server, page_size, into_empty=empty)
        counts = sync.run("patient", name.replace(" ", "-"))
        after_seconds = _floor_seconds(admin, server, page_size, into_empty=empty)
        floor_seconds = (before_seconds + after_seconds) / 2
        changes = f"{counts.inserted:,} / {counts.updated:,} / {counts.unchanged:,}"
        yield Figures(name=name, floor_seconds=floor_seconds, seconds=sync.seconds, changes=changes)


def _floor_seconds(admin: psycopg.Connection, server: MemoryServer, page_size: int, *, into_empty: bool) -> float:
    if into_empty:
        floor.prepare(admin)
    started = time.perf_counter()
    floor.run(admin, server.base_url, page_size)
    return time.perf_counter() - started


def import_seconds() -> float:
    """What a task of its own pays before it can validate."""
    started = time.perf_counter()
    command = [sys.executable, "-c", "import partner_sync.quality.custom_expectations"]
    subprocess.run(command, env=child_environment(), check=True)
    return time.perf_counter() - started


def report_with_imports(figures: list[Figures], *, records: int, page_size: int, dirty: float) -> str:
    """The table, and what becomes of the ratio when the import counts."""
    seconds = import_seconds()
    ratios = ", ".join(f"{(each.total_seconds + seconds) / each.floor_seconds:.2f}" for each in figures)
    table = report(figures, records=records, page_size=page_size, dirty=dirty)
    return f"{table}\n\nWith the import, {seconds:.1f} s in a process of its own: {ratios} times the floor."


def report(figures: list[Figures], *, records: int, page_size: int, dirty: float) -> str:
    """The table, for people and for the README."""
    load = os.getloadavg()[0]
    head = [
        f"{records:,} patients in pages of {page_size}, {dirty:.0%} dirty; Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {load:.1f}. Seconds; the floor validates nothing.",
        "",
        "| | floor | sync | ratio | extract | validate | merge | inserted / updated / unchanged |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *(each.line() for each in figures)])
