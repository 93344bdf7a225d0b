"""Says what is being done while it is done, one line each, with the seconds it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """One line to the person who waits, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce a step, and its seconds when it is done; a step that fails says so and raises on."""
    began = time.monotonic()
    say(f"[{began - _BEGAN:5.1f} s] {what} ...")
    outcome = "stopped"
    try:
        yield
        outcome = "done"
    finally:
        say(f"          {outcome}: {what} ({time.monotonic() - began:.1f} s)")
