"""A PostgreSQL of the benchmark's own, set up as `make up` sets one up: durable, with the project's settings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.bootstrap import at_database, bootstrap
from stack.logins import DATABASE
from stack.ports import free_port
from stack.postgres import Account, Cluster, stop, url_of
from stack.secret_store import SecretStore


class Servers:
    """URLs of the running database."""

    def __init__(self, cluster: Cluster, secrets: SecretStore) -> None:
        self._cluster = cluster
        self._secrets = secrets

    @property
    def admin_url(self) -> str:
        return at_database(self._cluster.url(), DATABASE)

    def url(self, writer: str) -> str:
        login = f"sync_{writer}"
        return url_of(login, self._secrets.get(login), port=self._cluster.port, database=DATABASE)


@contextmanager
def database() -> Iterator[Servers]:
    """Start, bootstrap, and take away again."""
    with tempfile.TemporaryDirectory(prefix="partner-sync-bench-", dir="/tmp") as name:
        folder = Path(name)
        account = Account.usable()
        if account.owner is not None:
            os.chown(folder, *account.owner)
        secrets = SecretStore(folder / "secrets.json")
        cluster = Cluster(folder / "postgres", free_port(), secrets.get("admin"), account)
        process = cluster.start(cluster.prepare(), folder / "postgres.log")
        try:
            bootstrap(cluster.url(), secrets)
            yield Servers(cluster, secrets)
        finally:
            stop(process)
