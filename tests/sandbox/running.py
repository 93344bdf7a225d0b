"""A practice partner for tests: real HTTP on a free port, in a thread or in a process of its own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from sandbox.control_client import LOOPBACK, ControlClient
from sandbox.serving import listen, open_world, server_of
from sandbox.settings import ProfileName, Settings, load_settings
from sandbox.world import World

START_SECONDS = 15.0
TESTS_FOLDER = Path(__file__).resolve().parent.parent


class RunningPartner(ControlClient):
    """Context manager around one server; its control calls are methods of this object.

    ``changes`` are fields of ``sandbox.settings.Settings``, such as ``patients=40`` or ``seed=7``. The default limit
    is the profile's own. With ``home`` the visits outlive ``restart``.
    """

    def __init__(self, profile: ProfileName, *, home: Path | None = None, port: int = 0, **changes: Any) -> None:
        self.profile = profile
        self.initial_settings: Settings = load_settings(profile, None, changes)
        self._home = home
        self._port = port
        self._token = secrets.token_urlsafe(16)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._world: World | None = None

    @property
    def organizations(self) -> tuple[str, ...]:
        return self.initial_settings.organizations

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Raises TimeoutError when the server does not come up."""
        listener = listen("127.0.0.1", self._port)
        self._port = listener.getsockname()[1]
        self._world = open_world(self.profile, self.initial_settings, home=self._home, control_token=self._token)
        self._server = server_of(self._world)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name=f"practice-{self.profile}", daemon=True
        )
        self._thread.start()
        _wait_until(lambda: self._server is not None and self._server.started)
        super().__init__(f"http://127.0.0.1:{self._port}", self._token)

    def stop(self) -> None:
        self.close()
        if self._server is not None and self._thread is not None and self._world is not None:
            self._server.should_exit = True
            self._thread.join(timeout=START_SECONDS)
            self._world.close()

    def restart(self) -> None:
        """Stop and start on the same port; without ``home`` it has forgotten everything."""
        self.stop()
        self.start()

    def client(self, organization: str, **values: Any) -> httpx.Client:
        """An HTTP client that is signed in as an organization; the caller closes it."""
        headers = {"Authorization": self.key(organization).header()}
        return httpx.Client(base_url=self.base_url, headers=headers, **{**LOOPBACK, **values})


class PartnerProcess(ControlClient):
    """The same server as a process of its own, which can be killed; its base_url and control calls are the same."""

    def __init__(self, profile: ProfileName, *, home: Path, port: int = 0) -> None:
        self.profile = profile
        self._home = home
        token = secrets.token_urlsafe(16)
        # The token goes through the environment: arguments are seen by every user of the machine.
        environment = {**os.environ, "PYTHONPATH": str(TESTS_FOLDER), "PRACTICE_CONTROL_TOKEN": token}
        command = [sys.executable, "-m", "sandbox", "--profile", profile, "--port", str(port), "--home", str(home)]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        super().__init__(_announced_address(self._process), token)
        _wait_until(lambda: _is_healthy(self.base_url))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it without any warning, as a power cut does."""
        self.close()
        self._process.kill()
        self._process.communicate()


class MemoryServer:
    """``sandbox.memory_server`` as a process of its own, for benchmarks."""

    def __init__(self, *, records: int, page_size: int = 500, generation: int = 1, dirty: float = 0.02) -> None:
        options = {"records": records, "page-size": page_size, "generation": generation, "dirty": dirty, "port": 0}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {**os.environ, "PYTHONPATH": str(TESTS_FOLDER)}
        command = [sys.executable, "-m", "sandbox.memory_server", *words]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.base_url = _announced_address(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def generation(self, number: int) -> None:
        """Serve another generation from now on."""
        httpx.post(f"{self.base_url}/generation/{number}", timeout=60, **LOOPBACK).raise_for_status()


def _announced_address(process: subprocess.Popen[str]) -> str:
    """The address that a server prints; raises ChildProcessError when it ends without one."""
    if process.stdout is not None:
        for line in process.stdout:
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").strip()
    message = f"the practice server ended with status {process.wait()} before it listened"
    raise ChildProcessError(message)


def _is_healthy(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/practice/health", timeout=1, **LOOPBACK).status_code == 200
    except httpx.TransportError:
        return False


def _wait_until(true: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not true():
        if time.monotonic() > deadline:
            message = f"the practice partner was not up after {START_SECONDS:g} s"
            raise TimeoutError(message)
        time.sleep(0.01)
