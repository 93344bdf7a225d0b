"""``make bench ARGS=what``, all without a name: ``python -m benchmarks`` with include, plugins, tests on the path."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    capture,
    collection,
    crash,
    dags,
    day,
    fairness,
    latency,
    limiter,
    limits_kept,
    master,
    memory,
    pages,
    quality,
    sender,
)

RECORDS, MILLION, PAGE_SIZE, DIRTY = 100_000, 1_000_000, 500, 0.02


def _master() -> str:
    figures = master.measure(records=RECORDS, page_size=PAGE_SIZE, dirty=DIRTY)
    return master.report(figures, records=RECORDS, page_size=PAGE_SIZE, dirty=DIRTY)


def _master_million() -> str:
    figures = master.measure(records=MILLION, page_size=PAGE_SIZE, dirty=DIRTY, loads=1)
    return master.report_with_imports(figures, records=MILLION, page_size=PAGE_SIZE, dirty=DIRTY)


def _memory() -> str:
    return memory.report((RECORDS, 5 * RECORDS))


#: Each prints a table in Markdown.
BENCHMARKS: dict[str, Callable[[], str]] = {
    "master": _master,
    "master_million": _master_million,
    "memory": _memory,
    "quality": quality.report,
    "dags": dags.report,
    "limiter": limiter.report,
    "day": day.report,
    "fairness": fairness.report,
    "latency": latency.report,
    "capture": capture.report,
    "collection": collection.report,
    "limits_kept": limits_kept.report,
    "limits_kept_airflow": limits_kept.airflow_report,
    "crash": crash.report,
    "sender": sender.report,
    "pages": pages.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=(*BENCHMARKS, "memory-child", "all"), nargs="?", default="all")
    parser.add_argument("--records", type=int, default=RECORDS, help="memory-child only")
    parser.add_argument("--out", type=Path, help="memory-child only")
    chosen = parser.parse_args()
    if chosen.what == "memory-child":
        memory.child(chosen.records, chosen.out)
        return
    for name, report in BENCHMARKS.items():
        if chosen.what in (name, "all"):
            print(f"{report()}\n", flush=True)


if __name__ == "__main__":
    main()
