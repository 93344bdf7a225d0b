"""What an answer's header fields say about the partner's quotas, whichever way it says it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from partner_sync.http.moments import Clock
from partner_sync.http.rate_limit_fields import MOST_ITEMS, Policy, Standing, policies_in, standings_in
from partner_sync.http.rate_limit_separate import figures_in
from partner_sync.kinds.interface import Quota

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,40}")


def quotas_of(headers: Mapping[str, str], clock: Clock, *, retry_at: datetime | None = None) -> tuple[Quota, ...]:
    """One Quota for each that the fields name; none for what cannot be read, or counts no calls.

    ``headers`` find names in any case and join several lines of a field by commas, as httpx's do. ``retry_at``, when
    the answer has a Retry-After, wins over the reset of what is used up (the draft, 'Client Behavior').
    """
    if not any("ratelimit" in name or "rate-limit" in name for name in map(str.lower, headers)):
        return ()
    policies = policies_in(headers.get("ratelimit-policy", ""))
    standings = standings_in(headers.get("ratelimit", ""), clock)
    if not standings:
        older = figures_in(headers, clock)
        standings, policies = older.standings, (*policies, *older.policies)
    return _joined(standings, policies, retry_at=retry_at)[:MOST_ITEMS]


def exhausted_until(quotas: Iterable[Quota], violated: Sequence[str] = ()) -> datetime | None:
    """When what is used up, or was ``violated`` as the answer says, is filled up again; None: not said."""
    names = {plain_name(name) for name in violated}
    resets = [quota.reset_at for quota in quotas if quota.reset_at and (quota.remaining == 0 or quota.name in names)]
    return max(resets, default=None)


def policy_key(quota: Quota) -> str | None:
    """What a lasting policy is known by: its name, or its window ('60s'); None when the quota tells no policy."""
    if quota.requests is None or quota.window_seconds is None:
        return None
    return quota.name or f"{quota.window_seconds:g}s"


def plain_name(name: str) -> str:
    """The name of a policy as it may be written down: a plain code stays, anything else is replaced by a digest."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    return f"policy-{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def _joined(
    standings: Sequence[Standing], policies: Sequence[Policy], *, retry_at: datetime | None
) -> tuple[Quota, ...]:
    found: dict[Quota, None] = {}
    left = dict.fromkeys(policies)
    for standing in standings:
        policy = _policy_of(standing, policies)
        left = {each: None for each in left if not _said(each, policy)}
        if policy is None or policy.counts_requests:
            found[_quota(standing, policy, retry_at=retry_at)] = None
    found |= {_allowed(each): None for each in left if each.counts_requests}
    return tuple(found)


def _policy_of(standing: Standing, policies: Sequence[Policy]) -> Policy | None:
    """The policy that is meant: by name and partition, by name alone, or by a limit that is repeated with a window."""
    if standing.name is None:
        same = [each for each in policies if each.name is None and each.requests == standing.limit]
        return next((each for each in same if each.window_seconds), next(iter(same), None))
    named = [each for each in policies if each.name == standing.name]
    exact = [each for each in named if each.partition == standing.partition]
    return next(iter([*exact, *named]), None)


def _said(policy: Policy, meant: Policy | None) -> bool:
    """Whether a policy is said already by the standing that means ``meant``."""
    if policy is meant or meant is None:
        return policy is meant
    # '100, 100;w=60' names one limit twice.
    repeated = policy.name is None and meant.name is None and policy.requests == meant.requests
    return repeated and policy.window_seconds in {None, meant.window_seconds}


def _quota(standing: Standing, policy: Policy | None, *, retry_at: datetime | None) -> Quota:
    used_up = standing.remaining == 0 and retry_at is not None
    return Quota(
        name=None if standing.name is None else plain_name(standing.name),
        requests=policy.requests if policy else standing.limit,
        window_seconds=policy.window_seconds if policy else None,
        remaining=standing.remaining,
        reset_at=retry_at if used_up else standing.reset_at,
    )


def _allowed(policy: Policy) -> Quota:
    name = None if policy.name is None else plain_name(policy.name)
    return Quota(name=name, requests=policy.requests, window_seconds=policy.window_seconds)
