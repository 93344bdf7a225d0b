"""RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11) as structured fields (RFC 9651).

    RateLimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400
    RateLimit: "burst";r=42;t=27

Servers that follow drafts 03 to 10 are read as well: names as tokens, ``RateLimit: limit=100, remaining=50, reset=5``
and ``RateLimit-Policy: 100;w=60``. A field that is no structured field is ignored as a whole, as the draft asks; an
item that breaks the draft's own rules is ignored alone. Parameters that we do not know are comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import http_sf

from partner_sync.http.moments import Clock

#: Longer fields are not read, and nothing beyond so many items: a policy that counts is near the front.
MOST_CHARACTERS = 4096
MOST_ITEMS = 16
#: A quota of more calls than this binds nobody; the number stays small enough for every column.
MOST_CALLS = 10**9
_LONGEST_WINDOW_SECONDS = 366 * 86_400


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A quota policy: ``requests`` in ``window_seconds`` (None: not said). ``partition`` is the partition key."""

    name: str | None
    requests: int
    window_seconds: float | None = None
    partition: bytes | None = None
    counts_requests: bool = True


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is left of the quota ``name`` until ``reset_at`` (aware); ``limit`` in the forms that name no policy."""

    remaining: int
    reset_at: datetime | None = None
    name: str | None = None
    partition: bytes | None = None
    limit: int | None = None


def policies_in(text: str) -> tuple[Policy, ...]:
    """The policies of a RateLimit-Policy field."""
    return _policies_in(text) if len(text) <= MOST_CHARACTERS else ()


@lru_cache(maxsize=256)
def _policies_in(text: str) -> tuple[Policy, ...]:
    # The same text comes with nearly every answer.
    found = (_policy(value, parameters) for value, parameters in _items(text))
    return tuple(policy for policy in found if policy is not None)


def standings_in(text: str, clock: Clock) -> tuple[Standing, ...]:
    """The items of a RateLimit field, in its present form or as the dictionary of draft 07."""
    found = (_standing(value, parameters, clock=clock) for value, parameters in _items(text))
    listed = tuple(standing for standing in found if standing is not None)
    older = None if listed or not text else _older_standing(text, clock)
    return listed if older is None else (older,)


def calls(value: object) -> int | None:
    """A count of calls, bounded; None when it is no whole number of 0 or more."""
    return min(value, MOST_CALLS) if isinstance(value, int) and type(value) is int and value >= 0 else None


def _items(text: str) -> Iterator[tuple[object, Mapping[str, object]]]:
    parsed: Any = _parsed(text, "list")
    # An inner list is a list in the place of a value, and no policy.
    yield from (item for item in (parsed or [])[:MOST_ITEMS] if not isinstance(item[0], list))


def _parsed(text: str, kind: str) -> object:
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        return http_sf.parse(text.encode("utf-8", "replace"), tltype=kind)
    except http_sf.StructuredFieldError:
        return None


def _policy(value: object, parameters: Mapping[str, object]) -> Policy | None:
    named = isinstance(value, str | http_sf.Token)
    # Drafts 00 to 07 put the quota where the name is now.
    requests = calls(parameters.get("q") if named else value)
    window, unit, key = parameters.get("w"), parameters.get("qu"), parameters.get("pk")
    if requests is None or (window is not None and not calls(window)) or not _is_key(key):
        return None
    seconds = calls(window)
    return Policy(
        name=str(value) if named else None,
        requests=requests,
        window_seconds=seconds if seconds and seconds <= _LONGEST_WINDOW_SECONDS else None,
        partition=key if isinstance(key, bytes) else None,
        counts_requests=unit is None or str(unit) == "requests",
    )


def _standing(value: object, parameters: Mapping[str, object], *, clock: Clock) -> Standing | None:
    remaining, reset, key = calls(parameters.get("r")), parameters.get("t"), parameters.get("pk")
    seconds = calls(reset)
    if not isinstance(value, str | http_sf.Token) or remaining is None or not _is_key(key):
        return None
    if reset is not None and seconds is None:
        return None
    return Standing(
        remaining=remaining,
        reset_at=None if seconds is None else clock.after(seconds),
        name=str(value),
        partition=key if isinstance(key, bytes) else None,
    )


def _older_standing(text: str, clock: Clock) -> Standing | None:
    parsed: Any = _parsed(text, "dictionary")
    if not isinstance(parsed, dict):
        return None
    said = {name: calls(member[0]) for name, member in parsed.items()}
    remaining, seconds = said.get("remaining"), said.get("reset")
    if remaining is None:
        return None
    moment = None if seconds is None else clock.after(seconds)
    return Standing(remaining=remaining, reset_at=moment, limit=said.get("limit"))


def _is_key(value: object) -> bool:
    return value is None or isinstance(value, bytes)
