"""One step over many organizations: one that fails stops alone, one that waits lets the others go on (rule 9)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from partner_sync.database import Connection
from partner_sync.errors import (
    DatabaseAwayError,
    HeldError,
    LimitReachedError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    SettlingError,
)
from partner_sync.kinds.interface import Access
from partner_sync.links import Link

#: So many organizations in a row that cannot reach it: it is the partner, and asking for the others takes long.
UNREACHABLE_IN_A_ROW = 3
#: The longest time that a worker's slot is held asleep (design, rule 10), and the least that makes sense.
LONGEST_NAP_SECONDS = 5.0
SHORTEST_NAP_SECONDS = 0.1
#: When a call that nobody can name a moment for is asked for again.
ASK_AGAIN_SECONDS = 60.0

_Waits = LimitReachedError | RateLimitedError | SettlingError


@dataclass(frozen=True, kw_only=True)
class Doors:
    """How a step gets to the database as one writer ('extract', 'push', ...), and to a partner as a link says.

    ``access`` is asked only for organizations with work, once each.
    """

    connect: Callable[[str], Connection]
    access: Callable[[Link], Access]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Who are not done; the first moment at which one of them can go on, and the code of what it awaits."""

    organizations: tuple[str, ...]
    retry_at: datetime
    code: str = LimitReachedError.code


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a step goes on: ``until_at`` bounds all its waiting; on the last try nothing is left to a later one.

    Waits of a few seconds are slept through in place, ``naps_seconds`` in all: a deferral costs about three.
    """

    until_at: datetime
    last_try: bool = False
    naps_seconds: float = 20.0


def each_organization(
    links: Iterable[Link],
    work: Callable[[Link], None],
    *,
    failed: Callable[[Link, PartnerSyncError], None],
    patience: Patience,
) -> Waiting | None:
    """Do ``work`` for each link; ``failed`` hears of those that stop. Returns who has to wait, or None.

    Raises DatabaseAwayError at once, and PartnerUnavailableError when the whole step should be tried again: on the last
    try only if nobody could reach the partner, because then it is no matter of one organization.
    """
    pending = list(links)
    naps_end_at = now() + timedelta(seconds=patience.naps_seconds)
    while True:
        waiting = _one_round(pending, work, failed=failed, patience=patience)
        if waiting is None:
            return None
        nap = max((waiting.retry_at - now()).total_seconds(), SHORTEST_NAP_SECONDS)
        if nap > LONGEST_NAP_SECONDS or now() + timedelta(seconds=nap) > naps_end_at:
            return waiting
        time.sleep(nap)
        pending = [link for link in pending if link.organization in waiting.organizations]


def _one_round(
    links: Iterable[Link],
    work: Callable[[Link], None],
    *,
    failed: Callable[[Link, PartnerSyncError], None],
    patience: Patience,
) -> Waiting | None:
    waiting: list[tuple[Link, _Waits]] = []
    unreachable: list[tuple[Link, PartnerUnavailableError]] = []
    in_a_row, reached = 0, False
    for link in links:
        try:
            work(link)
        except HeldError as held:
            failed(link, held)
            continue
        except (LimitReachedError, RateLimitedError, SettlingError) as wait:
            waiting.append((link, wait))
        except PartnerUnavailableError as error:
            unreachable.append((link, error))
            in_a_row += 1
            if in_a_row >= UNREACHABLE_IN_A_ROW and not patience.last_try:
                raise
            continue
        except DatabaseAwayError:
            raise
        except PartnerSyncError as error:
            failed(link, error)
        in_a_row, reached = 0, True
    _judge_unreachable(unreachable, failed, final=patience.last_try and reached)
    return _who_waits(waiting, failed, until_at=patience.until_at)


def _judge_unreachable(
    unreachable: list[tuple[Link, PartnerUnavailableError]],
    failed: Callable[[Link, PartnerSyncError], None],
    *,
    final: bool,
) -> None:
    if unreachable and not final:
        raise unreachable[-1][1]
    for link, error in unreachable:
        failed(link, error)


def _who_waits(
    waiting: list[tuple[Link, _Waits]], failed: Callable[[Link, PartnerSyncError], None], *, until_at: datetime
) -> Waiting | None:
    soon = now() + timedelta(seconds=ASK_AGAIN_SECONDS)
    patient = []
    for link, wait in waiting:
        retry_at = wait.retry_at or soon
        if retry_at < until_at:
            patient.append((retry_at, wait.code, link.organization))
        else:
            failed(link, wait)
    if not patient:
        return None
    retry_at, code, _ = min(patient, key=lambda one: one[0])
    return Waiting(organizations=tuple(organization for *_, organization in patient), retry_at=retry_at, code=code)


def now() -> datetime:
    """The clock of a step's waiting."""
    return datetime.now(UTC)


def shards_of(organizations: Iterable[str], *, count: int) -> list[list[str]]:
    """At most ``count`` shares of the organizations, of about the same size; none is empty."""
    codes = list(organizations)
    return [codes[start::count] for start in range(min(count, len(codes)))]
