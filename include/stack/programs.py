"""Which programs the supervisor keeps up, and how it writes them down."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

DATABASE_PROGRAM = "postgres"
AIRFLOW_PROGRAMS = ("api-server", "scheduler", "dag-processor", "triggerer")

#: supervisord waits one second more after each failed start and gives up after ``startretries``: 100,000 of them
#: would take a century and a half, so that nothing ever ends as FATAL.
_RETRIES = 100_000


@dataclass(frozen=True)
class Program:
    """One server. A program that ends within ``settles_in_seconds`` of its start counts as a failed start (backoff)."""

    name: str
    command: tuple[str, ...]
    user: str | None = None
    starts_itself: bool = False
    priority: int = 20
    settles_in_seconds: int = 1
    stop_signal: str = "TERM"
    stop_waits_seconds: int = 20
    stops_as_group: bool = True

    def section(self, logs: Path) -> str:
        """The program's part of supervisord's configuration."""
        settings: dict[str, object] = {
            "command": shlex.join(self.command),
            "directory": "/",
            "autostart": self.starts_itself,
            "autorestart": True,
            "startsecs": self.settles_in_seconds,
            "startretries": _RETRIES,
            "priority": self.priority,
            "stopsignal": self.stop_signal,
            "stopwaitsecs": self.stop_waits_seconds,
            "stopasgroup": self.stops_as_group,
            "killasgroup": True,
            "redirect_stderr": True,
            "stdout_logfile": logs / f"{self.name}.log",
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 2,
        }
        if self.user is not None:
            settings["user"] = self.user
        lines = [f"{key}={ini_value(value)}" for key, value in settings.items()]
        return "\n".join([f"[program:{self.name}]", *lines, ""])


def ini_value(value: object) -> str:
    """Supervisord expands % in every value."""
    return str(value).replace("%", "%%")


def airflow_programs() -> list[Program]:
    """Airflow's four processes; each waits for the database by itself."""
    return [_airflow_program(name) for name in AIRFLOW_PROGRAMS]


def _airflow_program(name: str) -> Program:
    # Logs are files that the API server reads itself; a log server a process would cost memory and a fixed port.
    options = ("--skip-serve-logs",) if name in {"scheduler", "triggerer"} else ()
    command = (sys.executable, "-m", "stack.launch", "airflow", name, *options)
    return Program(name, command, settles_in_seconds=20, stop_waits_seconds=15)


def postgres_program(command: list[str], user: str | None) -> Program:
    """The embedded server: SIGINT is its fast shutdown, and only the postmaster gets it."""
    return Program(
        DATABASE_PROGRAM,
        tuple(command),
        user=user,
        starts_itself=True,
        priority=10,
        settles_in_seconds=3,
        stop_signal="INT",
        stop_waits_seconds=30,
        stops_as_group=False,
    )
