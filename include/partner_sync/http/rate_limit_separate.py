"""The older ways to say what is left, one header field for each figure.

RateLimit-Limit: 100, 100;w=60      RateLimit-Remaining: 42     RateLimit-Reset: 27      (drafts up to 06: a delay)
X-RateLimit-Limit: 100              X-RateLimit-Remaining: 42   X-RateLimit-Reset: 1795424400   (often a Unix time)
X-RateLimit-Limit-Minute: 100       X-RateLimit-Remaining-Minute: 42     (gateways with several windows)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from partner_sync.http.moments import Clock, reset_at
from partner_sync.http.rate_limit_fields import Policy, Standing, calls, policies_in

#: In the order in which they are believed; a server that sends two of them says the same twice.
_FAMILIES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_WINDOWS_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
#: Over the limit, as some gateways count: as much as nothing is left.
_OVERDRAWN = re.compile(r"\s*-\d{1,15}(?:\.0*)?\s*(?:,|$)", re.ASCII)
_COUNT = re.compile(r"\s*(\d{1,15})(?:\.0*)?\s*(?:,|$)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What such fields say together."""

    standings: tuple[Standing, ...] = ()
    policies: tuple[Policy, ...] = ()


def figures_in(headers: Mapping[str, str], clock: Clock) -> Figures:
    """The figures of the first family of fields that says any; names in ``headers`` are found in any case."""
    for family in _FAMILIES:
        found = _figures(headers, family, clock=clock)
        if found.standings or found.policies:
            return found
    return _of_gateway(headers)


def _figures(headers: Mapping[str, str], family: str, *, clock: Clock) -> Figures:
    # The first item is the limit that is nearest; the others are the policies behind it.
    policies = policies_in(headers.get(f"{family}-limit", ""))
    remaining = _remaining(headers.get(f"{family}-remaining"))
    reset = headers.get(f"{family}-reset")
    if remaining is None:
        return Figures(policies=policies)
    standing = Standing(
        remaining=remaining,
        reset_at=None if reset is None else reset_at(reset, clock),
        limit=policies[0].requests if policies else None,
    )
    return Figures(standings=(standing,), policies=policies)


def _of_gateway(headers: Mapping[str, str]) -> Figures:
    standings, policies = [], []
    for word, seconds in _WINDOWS_SECONDS.items():
        limit = _count(headers.get(f"x-ratelimit-limit-{word}"))
        remaining = _remaining(headers.get(f"x-ratelimit-remaining-{word}"))
        if limit is not None:
            policies.append(Policy(name=word, requests=limit, window_seconds=seconds))
        if remaining is not None:
            standings.append(Standing(remaining=remaining, name=word))
    return Figures(standings=tuple(standings), policies=tuple(policies))


def _remaining(text: str | None) -> int | None:
    return 0 if text and _OVERDRAWN.match(text) else _count(text)


def _count(text: str | None) -> int | None:
    found = _COUNT.match(text) if text else None
    return calls(int(found[1])) if found else None
