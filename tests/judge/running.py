"""Start a judge or a proxy as a process of its own, and ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS_FOLDER = Path(__file__).resolve().parent.parent
_READY = "listening on "
# No proxy of the environment stands between a judge and whoever asks it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running(module: str, **options: object) -> Iterator[str]:
    """The address of ``python -m judge.<module> --name value ...``, which ends with the block."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(TESTS_FOLDER)}
    command = [sys.executable, "-m", f"judge.{module}", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith(_READY):
                problem = f"judge.{module} ended before it listened"
                raise ChildProcessError(problem)
            yield line.removeprefix(_READY).strip()
        finally:
            process.terminate()


def asked(address: str, path: str) -> Any:
    """The JSON that a judge answers."""
    with _OPENER.open(f"{address}{path}", timeout=30) as answer:
        return json.load(answer)
