"""``make status``: what runs, how healthy Airflow is, and where to log in."""

from __future__ import annotations

import os
import sys

from stack.commands import run_command
from stack.installation import Installation
from stack.progress import say
from stack.up import describe


def main() -> None:
    """Ends with status 1 unless everything is healthy."""
    installation = Installation.named_by(os.environ)
    states = installation.supervisor.states()
    if not states:
        sys.exit(f"Nothing runs from {installation.home.path}.")
    with installation.api() as api:
        health = api.health()
    for name, state in sorted(states.items()):
        say(f"{name:15} {state.lower()}")
    for name, part in health.items():
        say(f"{name:15} {part.status}")
    say(describe(installation))
    if not all(part.is_healthy(None) for part in health.values()):
        sys.exit("Not everything is healthy (a start takes about half a minute).")


if __name__ == "__main__":
    run_command(main)
