"""Running the server on uvicorn, with a protocol that lets a fault cut the connection."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.application import MAKERS, application
from sandbox.journal import Journal
from sandbox.settings import ProfileName, Settings
from sandbox.world import World

# A hanging call must not keep a stopped server alive.
SHUTDOWN_SECONDS = 1


class CuttableProtocol(HttpToolsProtocol):
    """Puts the connection's transport into the scope; ASGI itself has no way to cut a connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["practice.transport"] = self.transport  # type: ignore[typeddict-unknown-key]  # ASGI's scope takes keys of the application


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def open_world(profile: ProfileName, settings: Settings, *, home: Path | None, control_token: str) -> World:
    """The state of a server, with what an earlier process wrote down in ``home``."""
    journal = Journal(None if home is None else home / f"{profile}.jsonl")
    return World(MAKERS[profile], settings, journal=journal, control_token=control_token)


def server_of(world: World) -> uvicorn.Server:
    """Its own logs name no path and no caller: paths carry keys of visits and patients."""
    config = uvicorn.Config(
        application(world),
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def kept_token(home: Path) -> str:
    """The control token in ``home``, made there once with mode 0600."""
    file = home / "control-token"
    home.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, secrets.token_urlsafe(24).encode())
        os.close(descriptor)
    return file.read_text(encoding="ascii").strip()
