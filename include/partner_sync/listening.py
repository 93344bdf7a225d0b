"""Who has work now: the notices that the to-do table sends (NOTIFY), gathered so that a burst becomes one.

A notice is a hint and never a payload: it names a partner, and whoever is woken reads the to-do table. One that is lost
costs nothing but time, because the tick of each minute reads the same table.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from psycopg import AsyncConnection, sql

from partner_sync.database import translated_errors

#: Written by sync.refresh_todo; the payload is a partner's slug.
CHANNEL = "partner_sync_todo"
#: A change is told at once; what follows it within this time is told together, so that a bulk edit is one push or two.
GATHER_SECONDS = 2.0
#: A connection that died without a word is noticed by then.
_PROVE_ALIVE_SECONDS = 30.0


@dataclass
class Gathered:
    """The partners of whom something was heard and not told yet. Times by a monotonic clock."""

    gather_seconds: float = GATHER_SECONDS
    _heard: set[str] = field(default_factory=set)
    _told_at: dict[str, float] = field(default_factory=dict)

    def hear(self, partner: str) -> None:
        """A notice has come."""
        self._heard.add(partner)

    def due(self, now: float) -> tuple[str, ...]:
        """The partners to tell now, by name; they count as told."""
        due = tuple(sorted(partner for partner in self._heard if self._due_at(partner) <= now))
        self._heard.difference_update(due)
        self._told_at |= dict.fromkeys(due, now)
        return due

    def wait_seconds(self, now: float) -> float | None:
        """How long until the next partner is due; None when nothing was heard."""
        return min((max(self._due_at(partner) - now, 0.0) for partner in self._heard), default=None)

    def _due_at(self, partner: str) -> float:
        return self._told_at.get(partner, float("-inf")) + self.gather_seconds


async def partners_with_work(url: str) -> AsyncIterator[str]:
    """The slugs of partners for whom work was added, from now on and without end.

    Raises DatabaseAwayError when the connection is lost, or cannot be made. Any login may listen.
    """
    gathered = Gathered()
    with translated_errors():
        async with await AsyncConnection.connect(url, autocommit=True) as conn:
            await conn.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
            while True:
                await _listen(conn, gathered)
                for partner in gathered.due(time.monotonic()):
                    yield partner


async def _listen(conn: AsyncConnection, gathered: Gathered) -> None:
    """Hear what comes, until something is due."""
    wait = gathered.wait_seconds(time.monotonic())
    heard = False
    async for notice in conn.notifies(timeout=_PROVE_ALIVE_SECONDS if wait is None else wait, stop_after=1):
        gathered.hear(notice.payload)
        heard = True
    if not heard and wait is None:
        await conn.execute("select 1")
