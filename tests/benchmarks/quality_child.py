"""Judges the benchmark's slice once, in a process that has imported what a task needs for it and no more."""

from __future__ import annotations

import os
import time

from benchmarks.peak import peak_megabytes
from partner_sync.database import connect

PARTNER, ORGANIZATION, RUN_KEY = "honoka", "memory-care", "bench"
#: In the environment: a URL carries a password, and arguments can be read by everybody.
URL_VARIABLE = "PARTNER_SYNC_BENCH_URL"


def main() -> None:
    """Print the figures of one line of the table; the library is imported before the clock starts."""
    import great_expectations as _imported_before_the_clock_starts  # noqa: F401

    from partner_sync.quality.suites import load_suite
    from partner_sync.quality.validate import validate_run

    with connect(os.environ[URL_VARIABLE]) as conn:
        before = peak_megabytes()
        started = time.perf_counter()
        (found,) = validate_run(
            conn, partner=PARTNER, run_key=RUN_KEY, organizations=[ORGANIZATION], entities=["patient"]
        )
        seconds = time.perf_counter() - started
    rules = len(load_suite("patient").rules)
    print(f"{rules} | {seconds:.2f} | {before:.0f} | {peak_megabytes():.0f} | {found.quarantined:,}")


if __name__ == "__main__":
    main()
