"""The tests' PostgreSQL: one server a session, one cloned database a test."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from partner_sync.database import Connection, connect
from stack.bootstrap import at_database, open_to_logins
from stack.logins import OWNER, WRITERS
from stack.ports import free_port
from stack.postgres import Account, Cluster, stop, url_of
from stack.secret_store import SecretStore

TEMPLATE = "partner_sync_template"
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
_PREFIX = "partner-sync-postgres-"
_IN_USE = "in-use"
_AGE_SECONDS = 60


@contextmanager
def running_cluster(*extra_settings: str, sync: bool = True) -> Iterator[tuple[Cluster, SecretStore]]:
    """A server on a free port, not bootstrapped yet; it and its folder are gone afterwards.

    ``sync`` off: what it holds need not outlive the machine, and lies in memory where there is room.
    """
    # Not below pytest's folders: as root, the database's user could not reach them.
    with _folder_in(_MEMORY if not sync and _has_room(_MEMORY) else Path("/tmp")) as folder:
        account = Account.usable()
        if account.owner is not None:
            os.chown(folder, *account.owner)
        secret_store = SecretStore(folder / "secrets.json")
        cluster = Cluster(folder / "postgres", free_port(), secret_store.get("admin"), account)
        process = cluster.start(cluster.prepare(*extra_settings, sync=sync), folder / "postgres.log")
        try:
            yield cluster, secret_store
        finally:
            stop(process)


@contextmanager
def _folder_in(parent: Path) -> Iterator[Path]:
    sweep(parent)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name, (Path(name) / _IN_USE).open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        yield Path(name)


def sweep(parent: Path) -> None:
    """Remove the folders of sessions that were killed: they could not, and memory is dear."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            # A new one may not be locked yet, and the server of one that was killed takes a moment to end.
            if time.time() - folder.stat().st_mtime > _AGE_SECONDS:
                with (folder / _IN_USE).open() as mark:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
        except (BlockingIOError, FileNotFoundError, PermissionError):
            continue  # In use, gone meanwhile, or somebody else's.


def _has_room(folder: Path) -> bool:
    """Whether it takes a cluster and, for a user who cannot reach ours, the server's programs."""
    if not folder.is_dir():
        return False
    found = os.statvfs(folder)
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > _ROOM_BYTES


@dataclass(frozen=True)
class Server:
    """The session's PostgreSQL, bootstrapped, with a migrated template database."""

    cluster: Cluster
    secrets: SecretStore

    def admin_url(self, database: str = "postgres") -> str:
        return self.cluster.url(database)

    def admin(self) -> psycopg.Connection:
        return psycopg.connect(self.admin_url(), autocommit=True)

    def clone(self) -> Database:
        with self.admin() as admin:
            return Database(self, copy_template(admin))

    def drop(self, name: str) -> None:
        with self.admin() as admin:
            drop(admin, name)


def copy_template(admin: psycopg.Connection) -> str:
    """Make a database like the template; returns its name."""
    name = f"test_{secrets.token_hex(6)}"
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY")
    admin.execute(statement.format(*map(sql.Identifier, (name, OWNER, TEMPLATE))))
    open_to_logins(admin, name, owner=OWNER, logins=WRITERS)
    return name


def drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Clones:
    """Databases made while the test before them runs: a copy takes longer than most tests. A context manager."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._worker = ThreadPoolExecutor(1)
        self._admin = server.admin()
        self._next = self._worker.submit(copy_template, self._admin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._worker.shutdown()
        self._admin.close()

    def take(self) -> Database:
        """A fresh database; the next one is begun."""
        ready, self._next = self._next, self._worker.submit(copy_template, self._admin)
        return Database(self._server, ready.result())

    def give_back(self, database: Database) -> None:
        """Close its connections at once, and drop it when there is time."""
        database.close()
        self._worker.submit(drop, self._admin, database.name)


class Database:
    """A migrated, empty database of one test; connections that are left open are closed at its end."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self._opened: list[Connection] = []

    def url(self, writer: str) -> str:
        """The URL of the login ``sync_<writer>``; the full name is taken as well."""
        login = writer if writer in WRITERS else f"sync_{writer}"
        return url_of(login, self.server.secrets.get(login), port=self.server.cluster.port, database=self.name)

    def connect(self, writer: str) -> Connection:
        """An autocommit connection with dict rows, as the core gets it."""
        return self._keep(connect(self.url(writer)))

    def admin(self) -> Connection:
        """A superuser's connection: to arrange what no writer may do, and to look at everything."""
        return self._keep(connect(at_database(self.server.admin_url(), self.name)))

    def close(self) -> None:
        for opened in self._opened:
            opened.close()

    def _keep(self, opened: Connection) -> Connection:
        self._opened.append(opened)
        return opened
