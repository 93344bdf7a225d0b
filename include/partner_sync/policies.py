"""A partner's own rate policies beside its file: written down, and told once where they differ (design, rule 8).

A smaller policy shrinks the calls at once (the gates see to that), a larger one changes nothing: both are a notice, so
that somebody brings the partner file into line.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.kinds.interface import PartnerKind, Quota
from partner_sync.partners.model import Limit, Partner
from partner_sync.statements import statement

Difference = Literal["same", "smaller", "larger"]

#: Limits that bind every call; the others are asked only where there are no such.
_FOR_ALL_CALLS = frozenset({"vendor", "organization"})


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A policy that the partner named, the limit of its file that it is compared with, and how it differs from that."""

    name: str
    requests: int
    window_seconds: float
    differs: Difference
    limit: Limit

    def as_facts(self) -> dict[str, Any]:
        """The same in plain values."""
        said = {"name": self.name, "requests": self.requests, "window_seconds": self.window_seconds}
        limit = self.limit
        file = {"file_scope": limit.scope, "file_requests": limit.requests, "file_seconds": limit.per_seconds}
        return said | {"differs": self.differs} | file


def compared(limits: Sequence[Limit], policies: Iterable[Quota]) -> tuple[Compared, ...]:
    """Each policy beside the limit of the file that comes nearest to it.

    A limit with the policy's own window comes first, the nearest count among several (a partner may name the vendor's
    and the organization's). Without one it is compared with what the file lets through in that window.
    """
    return tuple(
        _compared(limits, policy, window_seconds=policy.window_seconds)
        for policy in policies
        if policy.requests is not None and policy.window_seconds
    )


def note_policies(
    conn: Connection, partner: Partner, *, organization: str, run_key: str, policies: Iterable[Quota]
) -> bool:
    """Write down what the partner's answers to an organization said, as login sync_run; opens or closes the notice.

    Returns whether anything was new: the same again writes nothing (once an hour that it is still said).
    """
    facts = [each.as_facts() for each in compared(partner.limits, policies)]
    if not facts:
        return False
    values = {"partner": partner.slug, "organization": organization, "run_key": run_key, "policies": Jsonb(facts)}
    with translated_errors():
        row = conn.execute(statement("policies.note_policies"), values).fetchone()
    return bool(row and row["news"])


@contextmanager
def policies_noted(
    conn: Connection, partner: Partner, *, organization: str, run_key: str
) -> Iterator[Callable[[PartnerKind], PartnerKind]]:
    """Yields a function that keeps an eye on a kind; at the end, what the kinds were told is written down once.

    Also when the work ended in an error: a refusal says as much of limits as a success.
    """
    kinds: list[PartnerKind] = []

    def watched(kind: PartnerKind) -> PartnerKind:
        kinds.append(kind)
        return kind

    try:
        yield watched
    finally:
        said = [policy for kind in kinds for policy in kind.policies]
        note_policies(conn, partner, organization=organization, run_key=run_key, policies=said)


def _compared(limits: Sequence[Limit], policy: Quota, *, window_seconds: float) -> Compared:
    requests = policy.requests or 0
    limit = _nearest(limits, requests, window_seconds=window_seconds)
    allowed = _most_calls(limit, window_seconds)
    differs: Difference = "same" if requests == allowed else "smaller" if requests < allowed else "larger"
    name = policy.name or f"{window_seconds:g}s"
    return Compared(name=name, requests=requests, window_seconds=window_seconds, differs=differs, limit=limit)


def _nearest(limits: Sequence[Limit], requests: int, *, window_seconds: float) -> Limit:
    same_window = [limit for limit in limits if limit.per_seconds == window_seconds]
    if same_window:
        return min(same_window, key=lambda limit: abs(math.log(max(requests, 1) / limit.requests)))
    binding = [limit for limit in limits if limit.scope in _FOR_ALL_CALLS]
    return min(binding or limits, key=lambda limit: _most_calls(limit, window_seconds))


def _most_calls(limit: Limit, window_seconds: float) -> int:
    """How many calls a limit of the file lets through in a window of this length."""
    if limit.per_seconds == window_seconds:
        return limit.requests
    if limit.per_seconds is None:
        return sys.maxsize  # calls at once: nothing about a window
    windows = window_seconds / limit.per_seconds
    if limit.counts == "token_bucket":
        return (limit.burst or limit.requests) + math.floor(limit.requests * windows)
    if limit.counts == "spaced":
        return max(1, math.ceil(limit.requests * windows))
    return limit.requests * math.ceil(windows)
