"""What Airflow needs before and after its first start: settings, logins, metadata tables, connections.

Each part is skipped when it is as the last time; ``state.json`` in the home remembers.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

import psycopg

from partner_sync.errors import ConfigError
from stack.connections import put_own_connections
from stack.installation import PARTNERS_FOLDER, Installation
from stack.logins import AIRFLOW_DATABASE, AIRFLOW_LOGIN
from stack.private_files import read_json
from stack.progress import step
from stack.settings import airflow_environment, launching, write_environment, write_logins


def write_settings(installation: Installation) -> bool:
    """Write the processes' environment and logins; True when it differs from what running processes have."""
    home = installation.home
    before = read_json(home.environment_file)
    environment = airflow_environment(
        home,
        secret_store=installation.secret_store,
        address=installation.address,
        api=installation.api_place,
    ) | {PARTNERS_FOLDER: str(installation.partners)}
    home.airflow.mkdir(exist_ok=True)
    write_environment(home, environment)
    write_logins(home, installation.secret_store)
    return before != environment


def migrate_metadata(installation: Installation) -> None:
    """``airflow db migrate`` takes 8 s: only when Airflow or the database is another than the last time."""
    wanted = {"airflow": version("apache-airflow-core"), "revision": _metadata_revision(installation)}
    if wanted["revision"] is not None and installation.remembered("metadata") == wanted:
        return
    with step("Airflow's metadata tables"):
        _run_airflow(installation, "db", "migrate")
    installation.remember("metadata", wanted | {"revision": _metadata_revision(installation)})


def _metadata_revision(installation: Installation) -> str | None:
    password = installation.secret_store.get(AIRFLOW_LOGIN)
    with psycopg.connect(installation.address.url(AIRFLOW_LOGIN, password, database=AIRFLOW_DATABASE)) as conn:
        if conn.execute("SELECT to_regclass('alembic_version')").fetchall() == [(None,)]:
            return None
        rows = conn.execute("SELECT version_num FROM alembic_version").fetchall()
    return ",".join(sorted(str(row[0]) for row in rows)) or None


def _run_airflow(installation: Installation, *arguments: str) -> None:
    """Run Airflow's command line in the home's environment; its output goes to a log file."""
    log = installation.home.logs / "commands.log"
    command = [sys.executable, "-m", "stack.launch", "airflow", *arguments]
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdout=output, stderr=output, env=launching(installation.home, os.environ), check=False
        )
    if done.returncode:
        raise ConfigError(problem=f"`airflow {' '.join(arguments)}` ended with {done.returncode}; see {log}.")


def put_connections(installation: Installation) -> None:
    """The database's and the API's connections in Airflow; skipped when they are as the last time."""
    facts = [read_json(path) for path in (installation.home.secrets_file, installation.home.logins_file)]
    text = json.dumps([facts, installation.address.as_json(), installation.api_place.url], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if installation.remembered("connections") == digest:
        return
    with step("Airflow's connections to the database"), installation.api() as api:
        put_own_connections(
            api,
            address=installation.address,
            secret_store=installation.secret_store,
            base_url=installation.api_place.url,
        )
    installation.remember("connections", digest)
