"""What a partner allows, counted exactly, by arrival; seconds since the epoch. Refused calls do not count."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

#: Floating point alone: a tenth of a microsecond.
_EPSILON = 1e-7


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """One limit, as a maker's manual words it."""

    scope: str
    requests: int
    per_seconds: float = 1.0
    counts: str = "sliding_window"
    zone: str = "UTC"
    anchor: str = "00:00"
    burst: int | None = None
    endpoint: str | None = None


class Allowance(Protocol):
    """The state of one limit for whoever it counts together."""

    def wait_seconds(self, at: float) -> float:
        """0.0 when a call that arrives now is allowed, else after how long one will be."""

    def count(self, at: float) -> None:
        """A call was allowed."""

    def left(self, at: float) -> int:
        """How many more calls may come at this moment."""

    def ended(self) -> None:
        """A call was answered."""


class _Plain:
    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def ended(self) -> None:
        """Only calls in flight care."""


class SlidingWindow(_Plain):
    """At most so many calls in any span of that length."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__(allowed)
        self._times: deque[float] = deque()

    def wait_seconds(self, at: float) -> float:
        return 0.0 if self.left(at) > 0 else self._times[0] + self._allowed.per_seconds - at

    def count(self, at: float) -> None:
        self._times.append(at)

    def left(self, at: float) -> int:
        while self._times and self._times[0] <= at - self._allowed.per_seconds + _EPSILON:
            self._times.popleft()
        return self._allowed.requests - len(self._times)


class FixedWindow(_Plain):
    """At most so many calls in each window; windows are counted from the anchor of the day in the zone."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__(allowed)
        self._window = -math.inf
        self._used = 0

    def wait_seconds(self, at: float) -> float:
        return 0.0 if self.left(at) > 0 else window_start(self._allowed, at) + self._allowed.per_seconds - at

    def count(self, at: float) -> None:
        self.left(at)
        self._used += 1

    def left(self, at: float) -> int:
        window = window_start(self._allowed, at)
        if window != self._window:
            self._window, self._used = window, 0
        return self._allowed.requests - self._used


def window_start(allowed: Allowed, at: float) -> float:
    """When the fixed window of this moment began."""
    here = datetime.fromtimestamp(at, ZoneInfo(allowed.zone))
    origin = datetime.combine(here.date(), time.fromisoformat(allowed.anchor), here.tzinfo)
    if origin > here:
        origin -= timedelta(days=1)
    start = origin.timestamp()
    return start + (at - start) // allowed.per_seconds * allowed.per_seconds


class TokenBucket(_Plain):
    """Calls take a token each; the bucket fills evenly and holds ``burst``."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__(allowed)
        self._size = float(allowed.burst or allowed.requests)
        self._tokens = self._size
        self._at = -math.inf

    def wait_seconds(self, at: float) -> float:
        tokens = self._filled(at)
        return 0.0 if tokens >= 1 - _EPSILON else (1 - tokens) * self._allowed.per_seconds / self._allowed.requests

    def count(self, at: float) -> None:
        self._tokens, self._at = self._filled(at) - 1, at

    def left(self, at: float) -> int:
        return int(self._filled(at) + _EPSILON)

    def _filled(self, at: float) -> float:
        return min(self._size, self._tokens + (at - self._at) * self._allowed.requests / self._allowed.per_seconds)


class Spaced(_Plain):
    """Each call at least so long after the one before."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__(allowed)
        self._next = -math.inf

    def wait_seconds(self, at: float) -> float:
        return max(0.0, self._next - at) if self._next - at > _EPSILON else 0.0

    def count(self, at: float) -> None:
        self._next = at + self._allowed.per_seconds / self._allowed.requests

    def left(self, at: float) -> int:
        return 0 if self.wait_seconds(at) else 1


class InFlight(_Plain):
    """At most so many calls that are being worked on; ``per_seconds`` is what a refused caller is told to wait."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__(allowed)
        self._running = 0

    def wait_seconds(self, at: float) -> float:
        return 0.0 if self.left(at) > 0 else self._allowed.per_seconds

    def count(self, _at: float) -> None:
        self._running += 1

    def left(self, _at: float) -> int:
        return self._allowed.requests - self._running

    def ended(self) -> None:
        self._running -= 1


KINDS: dict[str, Callable[[Allowed], Allowance]] = {
    "sliding_window": SlidingWindow,
    "fixed_window": FixedWindow,
    "token_bucket": TokenBucket,
    "spaced": Spaced,
    "in_flight": InFlight,
}


def allowance(allowed: Allowed) -> Allowance:
    """A fresh state of the limit."""
    return KINDS[allowed.counts](allowed)


def allowed_of(document: dict[str, Any]) -> Allowed:
    """A limit from JSON."""
    return Allowed(**document)
