"""Ports on loopback: the usual one where it is free, another where it is not, remembered in the home."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from stack.private_files import locked, read_json, write_private

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (0 always can)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that is free now; whoever takes it must do so soon."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose_ports(path: Path, usual: dict[str, int]) -> dict[str, int]:
    """The ports kept in ``path``; names it lacks get their usual port, or a free one when that is taken."""
    with locked(path):
        known: dict[str, int] = read_json(path)
        for name, port in usual.items():
            if name not in known:
                known[name] = port if is_free(port) and port not in known.values() else free_port()
        write_private(path, json.dumps(known, indent=1))
    return {name: known[name] for name in usual}


def renew_taken(path: Path) -> dict[str, int]:
    """Replace the kept ports on which somebody else listens by now; the new ones by name.

    Only while none of our own servers runs.
    """
    with locked(path):
        known: dict[str, int] = read_json(path)
        renewed = {name: free_port() for name, port in known.items() if not is_free(port)}
        write_private(path, json.dumps(known | renewed, indent=1))
    return renewed
