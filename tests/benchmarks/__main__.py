"""``python -m benchmarks master | memory | dags | limiter``, with include and tests on the path (``make bench``)."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import dags, limiter, master, memory


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what", choices=("master", "memory", "memory-child", "dags", "limiter", "all"), nargs="?", default="all"
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--page-size", type=int, default=500)
    parser.add_argument("--dirty", type=float, default=0.02)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.what == "memory-child":
        memory.child(chosen.records, chosen.out)
        return
    if chosen.what in ("master", "all"):
        shape = {"records": chosen.records, "page_size": chosen.page_size, "dirty": chosen.dirty}
        print(master.report(master.measure(**shape), **shape), flush=True)
    if chosen.what in ("memory", "all"):
        print(memory.report((chosen.records, 5 * chosen.records)), flush=True)
    if chosen.what in ("dags", "all"):
        print(dags.report(), flush=True)
    if chosen.what in ("limiter", "all"):
        print(limiter.report(), flush=True)


if __name__ == "__main__":
    main()
