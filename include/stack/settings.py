"""The environment of every Airflow process: all of Airflow's configuration that is ours, in one place."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.address import Address
from stack.home import CLONE, Home
from stack.logins import AIRFLOW_DATABASE, AIRFLOW_LOGIN
from stack.ports import LOOPBACK
from stack.private_files import read_json, write_private
from stack.secret_store import SecretStore

#: Logins of the demo: an engineer, a planner, an analyst, and the one that writes run notes.
SERVICE_LOGIN = "partner-sync"
PEOPLE = ("admin", "op", "viewer")
ROLES = {"admin": "admin", "op": "op", "viewer": "viewer", SERVICE_LOGIN: "op"}

#: A person's own settings of these must not reach the stack's processes.
MARK = "PARTNER_SYNC_STACK"  # the one by which the processes of one home are known, see leftovers
FOREIGN = ("AIRFLOW", "PG", "PARTNER_SYNC", "PYTHONPATH", "GX_", "VIRTUAL_ENV")


def password_of(secret_store: SecretStore, login: str) -> str:
    """A person's password is short enough to type; the service's is not."""
    if login == SERVICE_LOGIN:
        return secret_store.get("airflow_service")
    return secret_store.get(f"ui_{login}", lambda: secrets.token_hex(6))


def fernet_key() -> str:
    """A key as Fernet wants it: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def constant_settings() -> dict[str, str]:
    """What is the same in every installation; docker-compose.yaml carries the same values (tested)."""
    users = ",".join(f"{login}:{role}" for login, role in ROLES.items())
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # A task whose server was restarted is found and run again after a minute; by default five, and the minute's
        # tick, of which one runs at a time, would stand still as long.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "GX_ANALYTICS_ENABLED": "False",
    }


@dataclass(frozen=True)
class ApiPlace:
    """Where Airflow's API listens, and under which URL people and our own processes reach it."""

    url: str
    host: str = LOOPBACK
    port: int = 8080
    people_url: str | None = None


def airflow_environment(
    home: Home, *, secret_store: SecretStore, address: Address, api: ApiPlace, clone: Path = CLONE
) -> dict[str, str]:
    """Everything that an Airflow process of this home needs beside the inherited environment."""
    plain, asynchronous = address.airflow_urls(
        AIRFLOW_LOGIN, secret_store.get(AIRFLOW_LOGIN), database=AIRFLOW_DATABASE
    )
    return constant_settings() | {
        "AIRFLOW_HOME": str(home.airflow),
        "PARTNER_SYNC_HOME": str(home.path),
        "PARTNER_SYNC_DATA_DOCS": str(home.data_docs),
        "PYTHONPATH": f"{clone / 'include'}:{clone / 'plugins'}",
        "PYTHONUNBUFFERED": "1",
        # Airflow renames its processes, which overwrites their environment; `make stop` knows them by it.
        "SPT_NOENV": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(clone / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(clone / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": secret_store.get("fernet_key", fernet_key),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{api.url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.logins_file),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": plain,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": asynchronous,
        "AIRFLOW__API__BASE_URL": api.people_url or api.url,
        "AIRFLOW__API__HOST": api.host,
        "AIRFLOW__API__PORT": str(api.port),
        "AIRFLOW__API__SECRET_KEY": secret_store.get("api_secret_key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret_store.get("jwt_secret"),
    }


def launching(home: Home, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of supervisord and ``stack.launch``: the admin's URL, above all, is not handed on."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(FOREIGN)}
    return {**kept, "PYTHONPATH": str(CLONE / "include"), "PARTNER_SYNC_HOME": str(home.path)}


def write_logins(home: Home, secret_store: SecretStore) -> None:
    """The passwords file of Airflow's simple auth manager."""
    passwords = {login: password_of(secret_store, login) for login in ROLES}
    write_private(home.logins_file, json.dumps(passwords))


def write_environment(home: Home, environment: Mapping[str, str]) -> None:
    write_private(home.environment_file, json.dumps(dict(environment), indent=1, sort_keys=True))


def read_environment(home: Home, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of this home: the inherited one without foreign settings, and ours."""
    kept = {name: value for name, value in inherited.items() if name == MARK or not name.startswith(FOREIGN)}
    return kept | read_json(home.environment_file)
