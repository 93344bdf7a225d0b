"""``make up``: starts the database and Airflow, makes what is missing, and returns when everything is healthy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from partner_sync.errors import ConfigError
from stack.address import Address
from stack.airflow_setup import migrate_metadata, put_connections, write_settings
from stack.bootstrap import bootstrap
from stack.commands import run_command
from stack.installation import ADMIN_URL, Installation
from stack.logins import ANALYST, DATABASE
from stack.postgres import wait_until_ready
from stack.programs import AIRFLOW_PROGRAMS, Program, airflow_programs, postgres_program
from stack.progress import say, step
from stack.settings import PEOPLE, password_of


def bring_up(installation: Installation, more_programs: Sequence[Program] = ()) -> None:
    """Start what does not run; ``more_programs`` (the practice partners) are kept up with the rest."""
    installation.clear_ground()
    programs = [*airflow_programs(), *more_programs]
    if installation.admin_url is None:
        admin_url = _start_embedded(installation, programs)
    else:
        admin_url = _use_outside(installation, programs, admin_url=installation.admin_url)
    with step("Roles, databases and migrations"):
        for line in bootstrap(admin_url, installation.secret_store):
            say(f"          made: {line}")
    changed = write_settings(installation)
    migrate_metadata(installation)
    with step("Airflow's four processes (a start takes about half a minute)"):
        started_at = _start_programs(installation, [program.name for program in programs], changed=changed)
        with installation.api() as api:
            api.wait_until_healthy(started_at)
    put_connections(installation)


def describe(installation: Installation) -> str:
    """The address and the logins, for the person who has waited."""
    lines = [f"Airflow: {installation.airflow_url}"]
    lines += [f"  login {login:7} password {password_of(installation.secret_store, login)}" for login in PEOPLE]
    lines += _report_of(installation)
    return "\n".join(lines)


def _report_of(installation: Installation) -> list[str]:
    """Where a BI tool finds the report. Its password is handed out to fewer people than read this, so it stays in its
    file.
    """
    known = installation.remembered("address")
    if known is None:
        return []
    address = Address(**known)
    return [
        f"Report for BI tools: host {address.host}, port {address.port}, database {DATABASE}, schema report",
        f"  login {ANALYST}, password in {installation.home.secrets_file} (docs/data-quality.md)",
    ]


def _start_embedded(installation: Installation, programs: list[Program]) -> str:
    """Start supervisord with the embedded PostgreSQL; returns its admin's URL."""
    if (installation.remembered("server") or "embedded") != "embedded":
        raise ConfigError(problem=f"This home uses an outside PostgreSQL: set {ADMIN_URL} as before.")
    cluster = installation.cluster
    supervisor = installation.supervisor
    with step(f"PostgreSQL on port {cluster.port}, in {cluster.folder}"):
        command = cluster.command(cluster.prepare())
        supervisor.write_config([postgres_program(command, cluster.account.name), *programs])
        supervisor.start()
        supervisor.start_programs(["postgres"])
        wait_until_ready(cluster.url(), seconds=60)
    installation.remember("server", "embedded")
    installation.remember("address", Address(port=cluster.port).as_json())
    return cluster.url()


def _use_outside(installation: Installation, programs: list[Program], *, admin_url: str) -> str:
    """Start supervisord without a database of its own."""
    supervisor = installation.supervisor
    with step("Using the PostgreSQL that the admin's URL names"):
        wait_until_ready(admin_url, seconds=10)
        supervisor.write_config(programs)
        supervisor.start()
    installation.remember("server", "outside")
    installation.remember("address", Address.of(admin_url).as_json())
    return admin_url


def _start_programs(installation: Installation, names: list[str], *, changed: bool) -> datetime | None:
    """Start what does not run; returns when, or None if everything ran already."""
    supervisor = installation.supervisor
    now = datetime.now(UTC)
    states = supervisor.states()
    running = [name for name in names if states[name] not in {"STOPPED", "EXITED"}]
    if changed:
        supervisor.restart_programs(name for name in running if name in AIRFLOW_PROGRAMS)
    supervisor.start_programs(names)
    return None if set(AIRFLOW_PROGRAMS) <= set(running) and not changed else now


def main() -> None:
    installation = Installation.named_by(os.environ)
    bring_up(installation)
    say(describe(installation))
    say(f"Logs are in {Path(installation.home.logs)}; `make stop` ends everything.")


if __name__ == "__main__":
    run_command(main)
