"""Processes of this home that no supervisor looks after any more, for example after supervisord was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from stack.settings import MARK


def marked_processes(mark: str) -> list[psutil.Process]:
    """Processes whose environment carries this home's mark; our own process is never among them."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _carries(process, mark)]


def end_idle_workers(mark: str) -> int:
    """End the workers that wait for a scheduler which was killed; returns how many there were.

    Each would keep its memory for ever. One that still works on a task is left alone.
    """
    found = [process for process in marked_processes(mark) if _waits_for_nobody(process)]
    _end(found, signal.SIGTERM, seconds=5)
    return len(found)


def _waits_for_nobody(process: psutil.Process) -> bool:
    """Whether it is an idle worker of Airflow's LocalExecutor, and the leader of its group, the scheduler, is gone."""
    try:
        title = " ".join(process.cmdline())
        return (
            title.startswith("airflow worker") and "<idle>" in title and not psutil.pid_exists(os.getpgid(process.pid))
        )
    except (psutil.Error, ProcessLookupError):
        return False


def postmaster(data: Path) -> psutil.Process | None:
    """The running server of a cluster, by its pid file; None when another program has the number by now."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        process = psutil.Process(pid)
        command = process.cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return process if str(data) in command else None


def end_leftovers(mark: str, data: Path, *, seconds: float = 20) -> int:
    """End them, politely first; returns how many there were. The database goes last."""
    found = marked_processes(mark)
    _end(found, signal.SIGTERM, seconds=seconds)
    server = postmaster(data)
    if server is not None:
        _end([server], signal.SIGINT, seconds=seconds)
    return len(found) + (server is not None)


def _end(processes: list[psutil.Process], polite: signal.Signals, *, seconds: float) -> None:
    for process in processes:
        _send(process, polite)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _carries(process: psutil.Process, mark: str) -> bool:
    return any(found.get(MARK) == mark for found in _environments(process))


def _environments(process: psutil.Process) -> Iterator[dict[str, str]]:
    """The process's environment, when it may be read: another user's processes are none of ours."""
    try:
        yield process.environ()
    except (psutil.Error, OSError):
        return
