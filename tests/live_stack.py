"""A whole stack of its own for tests: temporary home, free ports, ended and removed afterwards."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.home import Home
from stack.installation import USUAL_PORTS, Installation
from stack.ports import free_port
from stack.postgres import Account, folder_for
from stack.practice import USUAL_PRACTICE_PORTS
from stack.private_files import write_private


@contextmanager
def temporary_installation() -> Iterator[Installation]:
    """An installation in which nothing runs yet, with partner files of its own; what is started from it is ended."""
    # Not below pytest's folders: as root, the database's user could not reach them.
    with tempfile.TemporaryDirectory(prefix="partner-sync-live-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = Home(folder / "home")
        home.make()
        ports = {server: free_port() for server in (*USUAL_PORTS, *USUAL_PRACTICE_PORTS)}
        write_private(home.ports_file, json.dumps(ports))
        partners = folder / "partners"
        shutil.copytree(Installation.partners, partners)
        installation = Installation(home, partners=partners)
        try:
            yield installation
        finally:
            installation.stop()
            shutil.rmtree(folder_for(home, Account.usable()), ignore_errors=True)
