"""Shared validation: runs ask for their slices to be judged and wait, and one process judges all that is due.

The library that judges costs seconds to load; where many syncs run often, one process loads it for all of them
(decision 0032). A run's own state stands in quality.due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import SharedValidationError
from partner_sync.partners.fields import Entity
from partner_sync.statements import statement

State = Literal["asked", "judging", "done", "failed", "given_up"]
#: How often a judgement is begun that never ends, because its process dies.
MOST_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a run wants judged. ``asked``: which of its askings; an answer to an older one does not count."""

    partner: str
    run_key: str
    dag: str
    organizations: Sequence[str]
    entities: Sequence[Entity]
    asked: int = 1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of it; ``code`` says why it failed."""

    state: State
    code: str | None = None

    @property
    def is_final(self) -> bool:
        return self.state not in {"asked", "judging"}


def ask(conn: Connection, due: Due) -> None:
    """A run wants its slices judged, as ``sync_validate``; asked again, they are judged again."""
    with translated_errors():
        conn.execute(statement("shared.ask"), asdict(due) | {"organizations": list(due.organizations)})


def answer_of(conn: Connection, *, partner: str, run_key: str) -> Answer | None:
    """What became of it, or None when nothing was asked."""
    with translated_errors():
        row = conn.execute(statement("shared.find_state"), {"partner": partner, "run_key": run_key}).fetchone()
    return Answer(**row) if row else None


def give_up(conn: Connection, *, partner: str, run_key: str) -> bool:
    """The run waits no longer; False when it has been judged at the last moment."""
    with translated_errors():
        given_up = conn.execute(statement("shared.give_up"), {"partner": partner, "run_key": run_key}).fetchone()
    return given_up is not None


async def answer_at(url: str, *, partner: str, run_key: str) -> Answer | None:
    """As ``answer_of``, for an event loop, over a connection of its own. Raises DatabaseAwayError."""
    with translated_errors():
        async with await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as conn:
            cursor = await conn.execute(statement("shared.find_state"), {"partner": partner, "run_key": run_key})
            row = await cursor.fetchone()
    return Answer(**row) if row else None


def anything_due(conn: Connection) -> bool:
    """Whether a run waits; cheap, and without the library."""
    with translated_errors():
        row = conn.execute(statement("shared.find_due")).fetchone()
    return bool(row and row["any"])


def judge_due(conn: Connection, judge: Callable[[Due], str | None]) -> Iterator[tuple[Due, str | None]]:
    """Judge whatever is due, one run after the other, until nothing is; yields each with the code of its failure.

    ``judge`` returns a code when the run cannot be judged, and None when it was. ``conn`` (``sync_validate``) is kept
    for the lock: nothing is done while another process holds it. What a process that died had begun is begun again.
    """
    with translated_errors():
        taken = conn.execute(statement("shared.take_lock")).fetchone() or {}
        if not taken["taken"]:
            return
        worn_out = {"most_attempts": MOST_ATTEMPTS, "code": SharedValidationError.code}
        conn.execute(statement("shared.fail_worn_out"), worn_out)
    seen: list[Due] = []
    while (due := _take_next(conn, seen)) is not None:
        seen.append(due)
        code = judge(due)
        with translated_errors():
            conn.execute(statement("shared.end"), _key_of(due) | {"asked": due.asked, "code": code})
        yield due, code


def _take_next(conn: Connection, seen: Sequence[Due]) -> Due | None:
    facts = {
        "most_attempts": MOST_ATTEMPTS,
        "seen_partner": [due.partner for due in seen],
        "seen_run_key": [due.run_key for due in seen],
    }
    with translated_errors():
        row = conn.execute(statement("shared.take_next"), facts).fetchone()
    return Due(**row) if row else None


def _key_of(due: Due) -> dict[str, str]:
    return {"partner": due.partner, "run_key": due.run_key}
