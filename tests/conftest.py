"""One PostgreSQL for the whole session, one database for each test: the fixtures ``postgres`` and ``database``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_stack import temporary_installation
from postgres_server import TEMPLATE, Database, Server
from stack.bootstrap import bootstrap
from stack.installation import Installation
from stack.ports import free_port
from stack.postgres import Account, Cluster, stop
from stack.secret_store import SecretStore
from stack.up import bring_up

# A test must never meet the developer's own Airflow, database or home; nothing imported above reads these.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "PG", "PARTNER_SYNC"))]:
    del os.environ[_name]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of its own on a free port; it and its folder are gone at the end of the session."""
    with tempfile.TemporaryDirectory(prefix="partner-sync-test-", dir="/tmp") as name:
        folder = Path(name)
        account = Account.usable()
        if account.owner is not None:
            os.chown(folder, *account.owner)
        secret_store = SecretStore(folder / "secrets.json")
        cluster = Cluster(folder / "postgres", free_port(), secret_store.get("admin"), account)
        # Without fsync a power cut may destroy the cluster, which nobody would miss; the tests are about twice as fast.
        binaries = cluster.prepare("fsync = off", "full_page_writes = off", "synchronous_commit = off", sync=False)
        process = cluster.start(binaries, folder / "postgres.log")
        try:
            bootstrap(cluster.url(), secret_store, database=TEMPLATE)
            yield Server(cluster, secret_store)
        finally:
            stop(process)


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """A fresh clone of the migrated template, dropped after the test."""
    clone = postgres.clone()
    yield clone
    clone.close()
    postgres.drop(clone.name)


@pytest.fixture(scope="session")
def live_installation() -> Iterator[Installation]:
    """A whole stack with its own Airflow, healthy; about half a minute. Mark such tests ``live``."""
    with temporary_installation() as installation:
        bring_up(installation)
        yield installation
