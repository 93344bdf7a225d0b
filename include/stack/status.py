"""``make status``: what runs, how healthy Airflow is, what is held or stopped by failures, and where to log in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from partner_sync.circuit import Stop, stops
from partner_sync.errors import DatabaseAwayError
from partner_sync.weeks import TOKYO
from stack.commands import run_command
from stack.installation import Installation
from stack.progress import say
from stack.up import describe


def lines_of(found: Iterable[Stop]) -> list[str]:
    """What is held, and whose circuits are not closed; a line each, in Asia/Tokyo."""
    return [f"{' / '.join(filter(None, [stop.partner, stop.organization]))}: {_state_of(stop)}" for stop in found]


def _state_of(stop: Stop) -> str:
    since = f"since {stop.since_at.astimezone(TOKYO):%Y-%m-%d %H:%M}"
    if stop.state == "held":
        return f"held {since} by {stop.by}: {stop.reason}"
    calls = f"{stop.failures} failed calls"
    if stop.state == "half_open" or stop.until_at is None:
        return f"circuit half open {since}, {calls}; one call at a time tries again"
    return f"circuit open {since}, {calls}; until {stop.until_at.astimezone(TOKYO):%H:%M:%S}"


def _what_is_stopped(installation: Installation) -> list[str]:
    try:
        with installation.connect("sync_reader") as conn:
            return lines_of(stops(conn).found)
    except DatabaseAwayError:
        return ["database        away"]


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
    for line in _what_is_stopped(installation):
        say(line)
    say(describe(installation))
    if not all(part.is_healthy(None) for part in health.values()):
        sys.exit("Not everything is healthy (a start takes about half a minute).")


if __name__ == "__main__":
    run_command(main)
