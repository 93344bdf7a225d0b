"""What a partner allows, as values, and the arithmetic of it without sending (design, 6).

The same rules as sql/migrations (0007_limiter, 0025_stops), for the plan: '620 calls, 11 minutes, done by 18:21'.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from partner_sync.circuit import CircuitRule
from partner_sync.errors import ConfigError
from partner_sync.kinds.interface import Quota
from partner_sync.partners.model import Partner

Scope = Literal["vendor", "organization", "office", "endpoint"]
Counts = Literal["sliding_window", "fixed_window", "token_bucket", "spaced", "in_flight"]

#: How long a call takes, for the plan only.
USUAL_CALL_SECONDS = 0.5
#: From the time-out of a call to the moment at which the partner has surely let it go.
_LEASE_MARGIN_SECONDS = 5.0
_NARROWEST = ("organization", "office", "endpoint", "vendor")
_DAY = timedelta(days=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_MOST_ROUNDS = 10_000
_FIRST_MONDAY = date(1970, 1, 5)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How many calls, per how long, for whom, and how the partner counts them.

    ``endpoint`` (scope endpoint) is counted over all organizations together, the stricter reading. ``zone`` and
    ``anchor`` (HH:MM) belong to fixed_window, ``burst`` (the bucket's size, by default ``requests``) to token_bucket.
    ``in_flight`` has no ``per_seconds`` (0): ``requests`` is the most calls at once.
    """

    scope: Scope
    requests: int
    per_seconds: float = 0.0
    counts: Counts = "sliding_window"
    zone: str | None = None
    anchor: str | None = None
    burst: int | None = None
    endpoint: str | None = None

    def owner(self, organization: str, *, office: str | None, endpoint: str | None) -> str | None:
        """Whose calls this limit counts together; None when it does not bind the call.

        A call for no office in particular is counted as one for an office of its own.
        """
        if self.scope == "endpoint":
            return endpoint if endpoint == self.endpoint else None
        return {"vendor": "", "organization": organization, "office": f"{organization}/{office or '-'}"}[self.scope]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits of a partner. ``jitter_seconds``: how far apart the ways of two calls can be on the network.

    ``grant_ttl_seconds``: for how long a grant is good. ``call_seconds``: how long a call can take; after both
    together a call in flight is given up, should its process have died. ``circuit``: when failures stop other calls.

    Raises ConfigError when jitter leaves no room in a fixed window.
    """

    limits: tuple[Limit, ...]
    jitter_seconds: float = 0.2
    grant_ttl_seconds: float = 10.0
    circuit: CircuitRule = field(default_factory=CircuitRule)
    call_seconds: float = 40.0

    @property
    def lease_seconds(self) -> float:
        """For how long a call in flight keeps its place when nobody says that it is back."""
        return self.grant_ttl_seconds + self.call_seconds + self.jitter_seconds

    def __post_init__(self) -> None:
        for limit in self.limits:
            if limit.counts == "fixed_window" and limit.per_seconds <= 2 * self.jitter_seconds:
                raise ConfigError(problem=f"jitter_seconds leaves no room in a window of {limit.per_seconds:g} s.")

    def binding(
        self, organization: str, *, office: str | None = None, endpoint: str | None = None
    ) -> list[dict[str, Any]]:
        """The limits that bind one call, as sync.acquire takes them.

        A last one without a figure stands for the organization: the partner can say that it has too little left.
        """
        bound: list[dict[str, Any]] = [
            {"scope": limit.scope, "owner": owner, "requests": limit.requests, "per_seconds": limit.per_seconds,
             "counts": limit.counts, "zone": limit.zone, "anchor": limit.anchor, "burst": limit.burst}
            for limit in dict.fromkeys(self.limits)
            if (owner := limit.owner(organization, office=office, endpoint=endpoint)) is not None
        ]  # fmt: skip
        if all(limit["scope"] != "organization" for limit in bound):
            bound.append({"scope": "organization", "owner": organization, "counts": "told_only"})
        return bound


@dataclass(frozen=True)
class Binding:
    """The limits that bind one call. ``text`` is JSON, in the same bytes each time: the database knows its digest."""

    text: str
    limits: tuple[Mapping[str, Any], ...]

    @property
    def leases(self) -> bool:
        """Whether calls in flight are counted, so that somebody has to say when they are back."""
        return any(limit["counts"] == "in_flight" for limit in self.limits)

    def place_of(self, quota: Quota) -> int:
        """Which limit (its place) a quota of the partner is about: the one with its window, or with its figure where
        the partner names no window; of several the one with its figure, then the narrowest scope. Without any, the
        organization as a whole.
        """
        places = range(len(self.limits))
        like = [at for at in places if self._figure(at, "per_seconds") == quota.window_seconds]
        if quota.window_seconds is None:
            like = [at for at in places if self._figure(at, "requests") == quota.requests]
        return min(like or self._of_organization(), key=lambda at: self._distance(at, quota))

    def _figure(self, place: int, name: str) -> object:
        """A figure of a limit over time; other limits have none that a quota could be about."""
        limit = self.limits[place]
        return limit[name] if limit["counts"] not in {"in_flight", "told_only"} else -1

    def _of_organization(self) -> list[int]:
        return [at for at, limit in enumerate(self.limits) if limit["scope"] == "organization"]

    def _distance(self, place: int, quota: Quota) -> tuple[bool, int]:
        limit = self.limits[place]
        return limit.get("requests") != quota.requests, _NARROWEST.index(limit["scope"])

    def same_window(self, quota: Quota) -> bool:
        """Whether some limit has the quota's window, so that their figures can be compared."""
        return (
            bool(quota.window_seconds) and self.limits[self.place_of(quota)].get("per_seconds") == quota.window_seconds
        )


@lru_cache(maxsize=4096)
def binding_of(limits: Limits, organization: str, office: str | None, endpoint: str | None) -> Binding:
    """``Limits.binding``, made once."""
    bound = limits.binding(organization, office=office, endpoint=endpoint)
    return Binding(json.dumps(bound, ensure_ascii=False), tuple(bound))


def limits_of(partner: Partner) -> Limits:
    """The limits of a partner file."""
    return Limits(
        limits=tuple(Limit(**limit.model_dump(exclude_none=True)) for limit in partner.limits),
        jitter_seconds=partner.jitter_seconds,
        grant_ttl_seconds=partner.grant_ttl_seconds,
        circuit=_circuit_of(partner),
        call_seconds=partner.timeouts.call_seconds + _LEASE_MARGIN_SECONDS,
    )


def _circuit_of(partner: Partner) -> CircuitRule:
    longest_call_seconds = partner.grant_ttl_seconds + partner.timeouts.call_seconds
    return CircuitRule(**partner.circuit.model_dump(), probe_seconds=longest_call_seconds)


def seconds_for(limits: Limits, calls: int, *, start_at: datetime, endpoint: str | None = None) -> float:
    """How many seconds pass from ``start_at`` until the last of ``calls`` may leave, one organization alone, no call
    granted before. 0.0 when they fit at once. Under a limit of calls in flight each takes ``USUAL_CALL_SECONDS``.
    """
    counters = [_counter(limit, limits.jitter_seconds) for limit in limits.limits if limit.endpoint in {None, endpoint}]
    at = start_at.astimezone(UTC)
    left = calls
    while left > 0 and counters:
        at = _opens_at(counters, at)
        count = min(left, *(counter.room(at) for counter in counters))
        for counter in counters:
            counter.take(at, count)
        left -= count
    return (at - start_at).total_seconds()


def seconds_under(limits: Limits, calls: Mapping[str, int], *, start_at: datetime) -> float:
    """How many seconds the calls of several organizations (by code) take at least, side by side."""
    vendor = Limits(
        limits=tuple(limit for limit in limits.limits if limit.scope == "vendor"), jitter_seconds=limits.jitter_seconds
    )
    together = seconds_for(vendor, sum(calls.values()), start_at=start_at)
    return max([together, *(seconds_for(limits, count, start_at=start_at) for count in calls.values())])


@dataclass
class _Counter:
    limit: Limit
    jitter: timedelta
    per: timedelta = field(init=False)

    def __post_init__(self) -> None:
        self.per = timedelta(seconds=self.limit.per_seconds)

    def room(self, at: datetime) -> int:
        raise NotImplementedError

    def opens_at(self, from_at: datetime) -> datetime:
        raise NotImplementedError

    def take(self, at: datetime, count: int) -> None:
        raise NotImplementedError


@dataclass
class _SlidingWindow(_Counter):
    """Grants with their running total: used = total now - total when the window began."""

    times: list[datetime] = field(default_factory=list)
    totals: list[int] = field(default_factory=lambda: [0])

    def room(self, at: datetime) -> int:
        gone = bisect_right(self.times, at - self.per - self.jitter)
        return self.limit.requests - (self.totals[-1] - self.totals[gone])

    def opens_at(self, from_at: datetime) -> datetime:
        must_leave = bisect_right(self.totals, self.totals[-1] - self.limit.requests)
        if must_leave == 0:
            return from_at
        return max(from_at, self.times[must_leave - 1] + self.per + self.jitter)

    def take(self, at: datetime, count: int) -> None:
        self.times.append(at)
        self.totals.append(self.totals[-1] + count)


@dataclass
class _InFlight(_SlidingWindow):
    """A place is free again when its call is back."""

    def __post_init__(self) -> None:
        self.per = timedelta(seconds=USUAL_CALL_SECONDS)
        self.jitter = timedelta()


@dataclass
class _FixedWindow(_Counter):
    starts_at: datetime = _LONG_AGO
    used: int = 0

    def room(self, at: datetime) -> int:
        starts_at, ends_at = fixed_window(self.limit, at)
        if not starts_at + self.jitter <= at < ends_at - self.jitter:
            return 0
        return self.limit.requests - (self.used if starts_at == self.starts_at else 0)

    def opens_at(self, from_at: datetime) -> datetime:
        starts_at, ends_at = fixed_window(self.limit, from_at)
        full = starts_at == self.starts_at and self.used >= self.limit.requests
        if full or from_at >= ends_at - self.jitter:
            return ends_at + self.jitter
        return max(from_at, starts_at + self.jitter)

    def take(self, at: datetime, count: int) -> None:
        starts_at, _ = fixed_window(self.limit, at)
        self.used = count + (self.used if starts_at == self.starts_at else 0)
        self.starts_at = starts_at


@dataclass
class _Bucket(_Counter):
    """Token bucket, and spacing as a bucket of one: the time at which it is full again (GCRA)."""

    full_at: datetime = _LONG_AGO
    cost: timedelta = field(init=False)
    tolerance: timedelta = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        burst = 1 if self.limit.counts == "spaced" else self.limit.burst or self.limit.requests
        self.cost = timedelta(microseconds=math.ceil(self.per / timedelta(microseconds=1) / self.limit.requests))
        self.tolerance = burst * self.cost - self.jitter
        if self.tolerance < self.cost:
            self.cost = self.tolerance = self.cost + self.jitter

    def room(self, at: datetime) -> int:
        return (self.tolerance - max(self.full_at - at, timedelta())) // self.cost

    def opens_at(self, from_at: datetime) -> datetime:
        if self.full_at <= from_at:
            return from_at
        return max(from_at, self.full_at + self.cost - self.tolerance)

    def take(self, at: datetime, count: int) -> None:
        self.full_at = max(self.full_at, at) + count * self.cost


_COUNTERS: Mapping[str, Callable[[Limit, timedelta], _Counter]] = {
    "sliding_window": _SlidingWindow,
    "fixed_window": _FixedWindow,
    "token_bucket": _Bucket,
    "spaced": _Bucket,
    "in_flight": _InFlight,
}


def _counter(limit: Limit, jitter_seconds: float) -> _Counter:
    return _COUNTERS[limit.counts](limit, timedelta(seconds=jitter_seconds))


def _opens_at(counters: list[_Counter], from_at: datetime) -> datetime:
    """The first moment at which one call fits everywhere; a limit can push it into another's closed edge."""
    at = from_at
    for _ in range(_MOST_ROUNDS):
        before = at
        for counter in counters:
            at = counter.opens_at(at)
        if at == before:
            return at
    raise ConfigError(problem="The fixed windows of these limits are never open at one time: lower jitter_seconds.")


def fixed_window(limit: Limit, at: datetime) -> tuple[datetime, datetime]:
    """The fixed window that ``at`` lies in, in UTC.

    Windows of up to a day begin anew at the anchor of each day of the zone, and the last one of a day ends with it: on
    a day of 25 hours it is an hour longer. Windows of several whole days are counted in days of the zone from Monday
    1970-01-05, other long ones in hours from its anchor.
    """
    zone = ZoneInfo(limit.zone or "UTC")
    anchor = time.fromisoformat(limit.anchor or "00:00")
    per = timedelta(seconds=limit.per_seconds)
    since_midnight = timedelta(hours=anchor.hour, minutes=anchor.minute)
    day = (at.astimezone(zone).replace(tzinfo=None) - since_midnight).date()

    def begins(on: date) -> datetime:
        return datetime.combine(on, anchor, zone).astimezone(UTC)

    if not per % _DAY:
        first = day - (day - _FIRST_MONDAY) % per
        return begins(first), begins(first + per)
    origin = begins(_FIRST_MONDAY if per > _DAY else day)
    place = (at - origin) // per
    last = -(-_DAY // per) - 1 if per < _DAY else None
    if last is not None and place >= last:
        return origin + last * per, begins(day + _DAY)
    ends_at = origin + (place + 1) * per
    return origin + place * per, ends_at if last is None else min(ends_at, begins(day + _DAY))
