"""supervisord keeps the servers up; it is started, asked and ended through a unix socket of mode 0600."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import xmlrpc.client as rpc
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from supervisor.xmlrpc import Faults, SupervisorTransport

from partner_sync.errors import ConfigError
from stack.home import Home
from stack.private_files import write_private
from stack.programs import DATABASE_PROGRAM, Program, ini_value
from stack.settings import MARK, launching
from stack.waiting import NotInTimeError, wait_until

_SIGNAL_REPEATS = 3
_SIGNAL_AGAIN_SECONDS = 4.0
_LONGEST_SOCKET_PATH = 100  # bytes; the systems allow 104 to 108


@dataclass(frozen=True)
class Supervisor:
    """The supervisor of one home."""

    home: Home

    @property
    def config_file(self) -> Path:
        return self.home.path / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        return self.home.path / "supervisord.pid"

    @property
    def mark(self) -> str:
        return hashlib.sha256(os.fsencode(self.home.path)).hexdigest()[:16]

    @property
    def socket(self) -> Path:
        """In the home; where that makes too long a path, in a folder of our own among the temporary files."""
        inside = self.home.path / "supervisord.sock"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_PATH:
            return inside
        return Path(tempfile.gettempdir()) / f"partner-sync-{os.getuid()}-{self.mark}" / "supervisord.sock"

    def write_config(self, programs: Iterable[Program]) -> None:
        """Write the configuration; it holds no secret (those are in the home's environment file)."""
        parts = [self._own_section(), *(program.section(self.home.logs) for program in programs)]
        write_private(self.config_file, "\n".join(parts))

    def start(self) -> None:
        """Start supervisord, or make the running one take over a changed configuration."""
        if self.phase() == "ending":
            self._wait_for("away", seconds=60)
        if self.phase() == "running":
            self._take_over()
            return
        self._make_socket_folder()
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.config_file)]
        environment = launching(self.home, os.environ) | {MARK: self.mark}
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(problem=f"The supervisor did not start: {(done.stderr or done.stdout).strip()[-500:]}")
        self._wait_for("running", seconds=15)

    def phase(self) -> Literal["away", "running", "ending"]:
        """Whether a supervisor of this home runs; one that is ending answers every call with a fault."""
        try:
            self._call("getState")
        except OSError:
            return "away"
        except rpc.Fault as error:
            if error.faultCode != Faults.SHUTDOWN_STATE:
                raise
            return "ending"
        return "running"

    def states(self) -> dict[str, str]:
        """Each program's state by name (RUNNING, STARTING, BACKOFF, STOPPED, EXITED); empty without a supervisor."""
        return {info["name"]: info["statename"] for info in self._infos()}

    def process_ids(self) -> dict[str, int]:
        """Each program's process by name, 0 where none runs."""
        return {info["name"]: info["pid"] for info in self._infos()}

    def start_programs(self, names: Iterable[str]) -> None:
        """Start what does not run; returns at once."""
        for name in names:
            self._call_unless(Faults.ALREADY_STARTED, "startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """Stop one program and wait until it has ended."""
        self._call_unless(Faults.NOT_RUNNING, "stopProcess", name, True)

    def restart_programs(self, names: Iterable[str]) -> None:
        """Stop and start programs, for a changed environment."""
        chosen = list(names)
        for name in chosen:
            self.stop_program(name)
        self.start_programs(chosen)

    def shutdown(self, seconds: float = 90) -> bool:
        """End every program and then supervisord itself; False when none was running."""
        phase = self.phase()
        if phase == "running":
            self._stop_together([name for name in self.states() if name != DATABASE_PROGRAM])
            # It may close the socket before the answer is out.
            with suppress(OSError, rpc.ProtocolError):
                self._call("shutdown")
        # The one that does not end in time is ended with the leftovers.
        with suppress(NotInTimeError):
            self._wait_for("away", seconds=seconds)
        return phase != "away"

    def _stop_together(self, names: list[str]) -> None:
        """End all programs at once; supervisord's own shutdown would wait for one after the other.

        The signal is repeated: it is lost when it reaches a Python process inside a garbage collection (Airflow's
        scheduler raises SystemExit from its handler), and then only SIGKILL, after the waiting time, would help.
        """
        for name in names:
            self._call_unless(Faults.NOT_RUNNING, "stopProcess", name, False)
        for _ in range(_SIGNAL_REPEATS):
            with suppress(NotInTimeError):
                wait_until(lambda: not self._ending(names), seconds=_SIGNAL_AGAIN_SECONDS, what="the programs to end")
            for name in self._ending(names):
                self._call_unless(Faults.NOT_RUNNING, "signalProcess", name, "TERM")

    def _ending(self, names: list[str]) -> list[str]:
        return [name for name, state in self.states().items() if name in names and state == "STOPPING"]

    def _take_over(self) -> None:
        """The same as supervisorctl's ``update``: only programs whose section changed are restarted."""
        [[added, changed, removed]] = self._call("reloadConfig")
        for name in (*changed, *removed):
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)

    def _own_section(self) -> str:
        sections: dict[str, dict[str, object]] = {
            "unix_http_server": {"file": self.socket, "chmod": "0600"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            "supervisorctl": {"serverurl": f"unix://{self.socket}"},
            "supervisord": {
                "logfile": self.home.logs / "supervisord.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": 1,
                "pidfile": self.pid_file,
                "childlogdir": self.home.logs,
                "umask": "077",
                # Said even where it changes nothing: as root, supervisord wants to be told that it stays root.
                "user": os.getuid(),
            },
        }
        return "\n".join(_section(name, values) for name, values in sections.items())

    def _make_socket_folder(self) -> None:
        folder = self.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise ConfigError(problem=f"{folder} belongs to somebody else; choose a shorter PARTNER_SYNC_HOME.")

    def _infos(self) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = self._call("getAllProcessInfo") if self.phase() == "running" else []
        return infos

    def _wait_for(self, phase: str, *, seconds: float) -> None:
        wait_until(lambda: self.phase() == phase, seconds=seconds, what=f"the supervisor ({phase})", every_seconds=0.1)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        try:
            server = rpc.ServerProxy("http://localhost", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _call_unless(self, fault: int, method: str, *arguments: Any) -> None:
        """Call, and take ``fault`` for success: it says that there was nothing to do."""
        try:
            self._call(method, *arguments)
        except rpc.Fault as error:
            if error.faultCode != fault:
                raise


def _section(name: str, values: dict[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={ini_value(value)}" for key, value in values.items()), ""])
