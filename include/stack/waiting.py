"""Waiting for something to come true, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

from partner_sync.errors import ConfigError


class NotInTimeError(ConfigError):
    """Something did not come true in time; ``seconds`` is how long it was waited for."""

    template = "Waited {seconds:.0f} s in vain for {what}."


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, every_seconds: float = 0.25) -> None:
    """Return when ``condition`` holds; raises NotInTimeError after ``seconds``."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise NotInTimeError(seconds=seconds, what=what)
        time.sleep(every_seconds)
