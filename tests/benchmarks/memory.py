"""``python -m benchmarks memory``: the peak memory of an extract must not depend on how many rows there are.

Each measurement is a process of its own: a process never gives its peak back.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peak import peak_megabytes
from benchmarks.server import database
from benchmarks.sync import MasterSync
from sandbox.running import TESTS_FOLDER, MemoryServer

PROJECT = TESTS_FOLDER.parent


def report(sizes: tuple[int, ...]) -> str:
    """One line for each number of records."""
    lines = ["| records | peak before extract, MB | peak after, MB |", "| ---: | ---: | ---: |"]
    return "\n".join(lines + [f"| {size:,} | {_in_a_child(size)} |" for size in sizes])


def child_environment() -> dict[str, str]:
    """Ours, with the project's folders on the path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(PROJECT / part) for part in ("include", "tests"))}


def _in_a_child(records: int) -> str:
    """Run ``child`` in a new process; its database and server are its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures"
        command = [sys.executable, "-m", "benchmarks", "memory-child", "--records", str(records), "--out", str(out)]
        subprocess.run(command, env=child_environment(), check=True)
        return out.read_text(encoding="utf-8")


def child(records: int, out: Path) -> None:
    """Extract once and write down the two peaks."""
    with MemoryServer(records=records) as server, database() as servers:
        sync = MasterSync(servers, server.base_url)
        before = peak_megabytes()
        counts = sync.extract(sync.key("patient", "memory"))
        out.write_text(f"{before:.0f} | {peak_megabytes():.0f}", encoding="utf-8")
        sync.close()
    if counts.state != "complete":
        raise SystemExit(counts.problem)
