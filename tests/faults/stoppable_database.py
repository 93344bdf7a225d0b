"""A durable PostgreSQL that can be stopped in the middle of everything, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.released_week import Place
from stack.bootstrap import at_database, bootstrap
from stack.logins import DATABASE
from stack.ports import free_port
from stack.postgres import Account, Cluster, stop, url_of
from stack.secret_store import SecretStore

#: How a server ends: connections are cut and it writes its state (fast), or it leaves everything as it is (immediate).
WAYS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class StoppableDatabase:
    """A bootstrapped server of its own, with fsync."""

    def __init__(self, folder: Path, account: Account) -> None:
        self._secrets = SecretStore(folder / "secrets.json")
        self._cluster = Cluster(folder / "postgres", free_port(), self._secrets.get("admin"), account)
        self._log = folder / "postgres.log"
        self._binaries = self._cluster.prepare()
        self._process: subprocess.Popen[bytes] = self._cluster.start(self._binaries, self._log)
        bootstrap(self._cluster.url(), self._secrets)

    @property
    def place(self) -> Place:
        return Place(url=self._url, admin_url=at_database(self._cluster.url(), DATABASE))

    def away(self, way: str, *, seconds: float) -> None:
        """Stop it, and start it again after so long."""
        self._process.send_signal(WAYS[way])
        self._process.wait(30)
        time.sleep(seconds)
        self._process = self._cluster.start(self._binaries, self._log)

    def close(self) -> None:
        stop(self._process)

    def _url(self, writer: str) -> str:
        login = f"sync_{writer}"
        return url_of(login, self._secrets.get(login), port=self._cluster.port, database=DATABASE)


@contextmanager
def stoppable_database() -> Iterator[StoppableDatabase]:
    """It and its folder are gone afterwards."""
    # Not below pytest's folders: as root, the database's user could not reach them.
    with tempfile.TemporaryDirectory(prefix="partner-sync-stoppable-", dir="/tmp") as name:
        folder, account = Path(name), Account.usable()
        if account.owner is not None:
            os.chown(folder, *account.owner)
        database = StoppableDatabase(folder, account)
        try:
            yield database
        finally:
            database.close()
