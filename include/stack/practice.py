"""The two practice partners of the demo: real HTTP servers on this machine, kept up like every other server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stack.airflow_api import Json
from stack.home import CLONE
from stack.installation import Installation
from stack.ports import LOOPBACK
from stack.programs import Program
from stack.waiting import wait_until

USUAL_PRACTICE_PORTS = {"honoka": 8701, "tsubaki": 8702}


@dataclass(frozen=True)
class PracticePartner:
    """One practice partner of an installation."""

    profile: str
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def program(self) -> Program:
        """How the supervisor starts it; its folder keeps its visits and its control token."""
        arguments = ("--profile", self.profile, "--port", str(self.port), "--home", str(self.folder))
        # The practice server lies among the tests and must not need any of our other folders.
        command = ("/usr/bin/env", f"PYTHONPATH={CLONE / 'tests'}", sys.executable, "-m", "sandbox", *arguments)
        return Program(f"practice-{self.profile}", command, settles_in_seconds=3)

    def wait_until_up(self, seconds: float = 60) -> None:
        wait_until(self._answers, seconds=seconds, what=f"the practice partner {self.profile}")

    def control(self, method: str, path: str, *, body: Json | None = None) -> Any:
        """Call the practice partner's own control, under /practice/."""
        token = (self.folder / "control-token").read_text(encoding="utf-8").strip()
        headers = {"X-Practice-Token": token}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            answer = client.request(method, f"/practice/{path}", headers=headers, json=body)
        return answer.raise_for_status().json()

    def keys(self) -> dict[str, Json]:
        """Each organization's ``kind``, ``login`` and ``secret``."""
        found: dict[str, Json] = self.control("GET", "keys")
        return found

    def _answers(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/practice/health", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return answer.is_success and answer.json().get("profile") == self.profile


def practice_partners(installation: Installation) -> dict[str, PracticePartner]:
    """The installation's practice partners by profile; their ports are remembered."""
    folder = installation.home.path / "practice"
    folder.mkdir(mode=0o700, exist_ok=True)
    return {
        profile: PracticePartner(profile, installation.port(profile, usual), folder / profile)
        for profile, usual in USUAL_PRACTICE_PORTS.items()
    }
