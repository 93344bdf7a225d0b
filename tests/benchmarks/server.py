"""A PostgreSQL of the benchmark's own, set up as `make up` sets one up: durable, with the project's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from postgres_server import running_cluster
from stack.bootstrap import at_database, bootstrap
from stack.logins import DATABASE
from stack.postgres import Cluster, url_of
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
def database(*extra_settings: str) -> Iterator[Servers]:
    """Start, bootstrap, and take away again."""
    with running_cluster(*extra_settings) as (cluster, secrets):
        bootstrap(cluster.url(), secrets)
        yield Servers(cluster, secrets)
