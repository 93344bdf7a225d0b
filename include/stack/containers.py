"""``python -m stack.containers prepare|connections``: the set-up steps of docker-compose.yaml.

The containers share one home on a volume, so that every process gets its settings from the same file as without
containers. ``prepare`` runs before Airflow starts, ``connections`` once its API answers.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from partner_sync.errors import ConfigError
from stack.address import Address
from stack.airflow_setup import migrate_metadata, put_connections, write_settings
from stack.bootstrap import bootstrap
from stack.commands import run_command
from stack.installation import ADMIN_URL, Installation
from stack.postgres import wait_until_ready
from stack.progress import say, step
from stack.settings import ApiPlace
from stack.up import describe

#: The name of the service in docker-compose.yaml, and the port that it publishes on the host's loopback.
API = ApiPlace("http://api-server:8080", host="0.0.0.0", people_url="http://localhost:8080")  # noqa: S104 - a container


def prepare(installation: Installation) -> None:
    """Roles, databases, migrations, settings and Airflow's metadata."""
    if installation.admin_url is None:
        raise ConfigError(problem=f"Set {ADMIN_URL} to the admin's URL of the database service.")
    wait_until_ready(installation.admin_url, seconds=60)
    with step("Roles, databases and migrations"):
        bootstrap(installation.admin_url, installation.secret_store)
    installation.remember("address", Address.of(installation.admin_url).as_json())
    write_settings(installation)
    migrate_metadata(installation)


def connect(installation: Installation) -> None:
    """The connections to the database and to the API; prints the logins."""
    with installation.api() as api:
        api.wait_until_healthy()
    put_connections(installation)
    say(describe(installation))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.containers", description=__doc__)
    parser.add_argument("step", choices=("prepare", "connections"))
    chosen = parser.parse_args().step
    installation = replace(Installation.named_by(os.environ), containers=API)
    {"prepare": prepare, "connections": connect}[chosen](installation)


if __name__ == "__main__":
    run_command(main)
