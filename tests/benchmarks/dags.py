"""Building the DAGs of many partners in a fresh process, after ``import airflow.sdk``.

All DAG files one after the other in one process, as a test or a tool reads the folder; and the slowest of them alone,
as Airflow does, which reads each file in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
#: The DAG files that hold DAGs of every partner.
FILES = tuple(sorted(file.stem for file in (ROOT / "dags").glob("*.py") if "dags_of" in file.read_text("utf-8")))

_CHILD = """
import json, runpy, sys, time
import airflow.sdk
before = time.perf_counter()
import partner_sync_airflow.dag_files
for name in sys.argv[2:]:
    __import__(f"partner_sync_airflow.building.{name}")
imported = time.perf_counter()
dags = [len(runpy.run_path(f"{sys.argv[1]}/dags/{name}.py")["DAGS"]) for name in sys.argv[2:]]
built = time.perf_counter()
print(json.dumps({"imports": imported - before, "build": built - imported, "dags": sum(dags)}))
"""


def measure(partners: int, *, runs: int = RUNS) -> dict[str, float]:
    """Seconds for our own imports, for all DAG files together, and for the slowest alone; the best of some runs."""
    with tempfile.TemporaryDirectory() as name:
        text = (ROOT / "include/partners/honoka.yaml").read_text(encoding="utf-8")
        for number in range(partners):
            # No two files are the same: what is read once must not count for all.
            file = Path(name) / f"partner{number:03d}.yaml"
            file.write_text(text.replace("Honoka records", f"Partner {number}"), encoding="utf-8")
        together = _best(name, FILES, runs)
        alone = {file: _best(name, (file,), runs)["build"] for file in FILES}
    return together | {"slowest": max(alone.values())}


def _best(folder: str, files: tuple[str, ...], runs: int) -> dict[str, float]:
    found = [_run(folder, files) for _ in range(runs)]
    return {key: min(run[key] for run in found) for key in found[0]}


def _run(folder: str, files: tuple[str, ...]) -> dict[str, float]:
    environment = {"PATH": "/usr/bin:/bin", "PARTNER_SYNC_PARTNERS": folder, "AIRFLOW_HOME": folder}
    environment["PYTHONPATH"] = f"{ROOT}/include:{ROOT}/plugins"
    command = [sys.executable, "-c", _CHILD, str(ROOT), *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(counts: tuple[int, ...] = (3, 30, 200)) -> str:
    """A table in Markdown."""
    lines = [
        f"DAG files: {', '.join(FILES)}.",
        "",
        "| partners | DAGs | our imports s | all DAG files s | the slowest file alone s |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in counts:
        found = measure(count)
        figures = f"{found['imports']:.2f} | {found['build']:.2f} | {found['slowest']:.2f}"
        lines.append(f"| {count} | {found['dags']:.0f} | {figures} |")
    return "\n".join(lines)
