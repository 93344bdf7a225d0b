"""Processes that begin as copies of one that has everything imported: a new one is there in some milliseconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from typing import Any

_context = get_context("forkserver")
_PRELOADED = ["faults.sender", "faults.editing_product"]


def begun(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A running process; it ends with this one at the latest."""
    _start_server()
    process = _context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


@cache
def _start_server() -> None:
    """The server of Python 3.11 finds what it is to import by the environment alone, and is silent when it does not."""
    _context.set_forkserver_preload(_PRELOADED)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
