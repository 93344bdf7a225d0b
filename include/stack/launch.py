"""``python -m stack.launch COMMAND ...``: wait for the database, then become COMMAND with the home's environment.

The supervisor starts every Airflow process through this. Airflow ends within seconds when its database is away,
at once if it never was there: waiting here keeps the restarts from piling up their backoff.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psycopg

from stack.home import Home
from stack.leftovers import end_idle_workers
from stack.progress import say
from stack.settings import MARK, read_environment

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 2.0


def wait_for_database(url: str) -> None:
    """Return once the database takes this login; waits as long as it must, and says so once."""
    wait = _FIRST_WAIT_SECONDS
    while not takes_login(url):
        if wait == _FIRST_WAIT_SECONDS:
            say("Waiting for the database.")
        time.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)


def takes_login(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def main(arguments: list[str]) -> None:
    """Never returns: the process becomes the command."""
    home = Home.named_by(os.environ)
    environment = read_environment(home, os.environ)
    binaries = Path(sys.executable).parent
    environment["PATH"] = f"{binaries}:{environment.get('PATH', os.defpath)}"
    if arguments[:2] == ["airflow", "scheduler"] and MARK in environment:
        end_idle_workers(environment[MARK])
    wait_for_database(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "", 1))
    os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(sys.argv[1:])
