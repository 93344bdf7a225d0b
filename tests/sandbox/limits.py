"""The partner's own limits, counted by its monotonic clock. A refused call does not count."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sandbox.settings import Limit


@dataclass(frozen=True)
class Standing:
    """Where a caller stands after asking: granted or not, how many are left, and in how many seconds more come."""

    granted: bool
    remaining: int
    reset_seconds: float

    @property
    def retry_after(self) -> int:
        return max(1, math.ceil(self.reset_seconds))


class Window(Protocol):
    """A count of calls that says of each whether it fits."""

    def take(self) -> Standing:
        """Count one call if it fits."""


class SlidingWindow:
    """At most so many calls in any stretch of the window's length."""

    def __init__(self, limit: Limit, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._taken: deque[float] = deque()

    def take(self) -> Standing:
        now = self._clock()
        while self._taken and self._taken[0] <= now - self._limit.per_seconds:
            self._taken.popleft()
        if len(self._taken) >= self._limit.requests:
            oldest = self._taken[0] if self._taken else now
            return Standing(False, 0, oldest + self._limit.per_seconds - now)
        self._taken.append(now)
        left = self._limit.requests - len(self._taken)
        return Standing(True, left, self._taken[0] + self._limit.per_seconds - now)


class FixedWindow:
    """At most so many calls between two whole multiples of the window's length on the clock."""

    def __init__(
        self, limit: Limit, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit
        self._clock = clock
        # The wall clock is read once: a clock that is set back must not open a window twice.
        self._offset = wall() - clock()
        self._window = -1
        self._count = 0

    def take(self) -> Standing:
        now = self._clock() + self._offset
        window = math.floor(now / self._limit.per_seconds)
        if window != self._window:
            self._window, self._count = window, 0
        reset = (window + 1) * self._limit.per_seconds - now
        if self._count >= self._limit.requests:
            return Standing(False, 0, reset)
        self._count += 1
        return Standing(True, self._limit.requests - self._count, reset)


class Limiter:
    """One window an organization (sliding) or one for the whole vendor (fixed)."""

    def __init__(self, limit: Limit, *, scope: str) -> None:
        self.limit = limit
        self.scope = scope
        self._windows: dict[str, Window] = {}

    def take(self, organization: str | None) -> Standing:
        owner = "" if self.scope == "vendor" else organization or ""
        if owner not in self._windows:
            self._windows[owner] = FixedWindow(self.limit) if self.scope == "vendor" else SlidingWindow(self.limit)
        return self._windows[owner].take()
