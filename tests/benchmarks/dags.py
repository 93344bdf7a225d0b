"""Building the DAGs of many partners in a fresh process, after ``import airflow.sdk``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5

_CHILD = """
import json, runpy, sys, time
import airflow.sdk
before = time.perf_counter()
import partner_sync_airflow.building.live_push, partner_sync_airflow.building.master_sync
import partner_sync_airflow.building.schedule_push, partner_sync_airflow.dag_files
imported = time.perf_counter()
files = [f"{sys.argv[1]}/dags/{name}.py" for name in ("master_sync", "schedule_push", "live_push")]
dags = [len(runpy.run_path(file)["DAGS"]) for file in files]
built = time.perf_counter()
print(json.dumps({"imports": imported - before, "build": built - imported, "dags": sum(dags)}))
"""


def measure(partners: int) -> dict[str, float]:
    """Seconds for our own imports and for all three DAG files together; the best of some runs."""
    with tempfile.TemporaryDirectory() as name:
        text = (ROOT / "include/partners/honoka.yaml").read_text(encoding="utf-8")
        for number in range(partners):
            (Path(name) / f"partner{number:03d}.yaml").write_text(text, encoding="utf-8")
        runs = [_run(name) for _ in range(RUNS)]
    assert runs[0]["dags"] == 3 * partners
    return {key: min(run[key] for run in runs) for key in runs[0]}


def _run(folder: str) -> dict[str, float]:
    environment = {"PATH": "/usr/bin:/bin", "PARTNER_SYNC_PARTNERS": folder, "AIRFLOW_HOME": folder}
    environment["PYTHONPATH"] = f"{ROOT}/include:{ROOT}/plugins"
    command = [sys.executable, "-c", _CHILD, str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(counts: tuple[int, ...] = (3, 30)) -> str:
    """A table in Markdown."""
    lines = ["| partners | DAGs | our imports s | build s |", "| ---: | ---: | ---: | ---: |"]
    for count in counts:
        found = measure(count)
        lines.append(f"| {count} | {found['dags']:.0f} | {found['imports']:.2f} | {found['build']:.2f} |")
    return "\n".join(lines)
