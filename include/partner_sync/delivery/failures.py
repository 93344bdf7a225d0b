"""What the partner would not take: how many visits stand rejected or given up, and for what, in a run's note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from partner_sync.catalogue import Language, entry
from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.push import PushWork
from partner_sync.incidents import whose_turn
from partner_sync.statements import statement
from partner_sync.words import count_name

#: So many causes of one organization are named, and so many organizations.
NAMED_CAUSES = 6
NAMED_ORGANIZATIONS = 10


def still_failed(conn: Connection, work: PushWork) -> int:
    """How many visits of the work's week (of all, when it has none) stand rejected or given up; as login sync_run."""
    with translated_errors():
        row = conn.execute(statement("delivery.still_failed"), vars(work.scope)).fetchone()
    return row["count"] if row else 0


def failed_lines(conn: Connection, *, partner: str, run_key: str, organizations: Sequence[str]) -> Iterator[str]:
    """For a run's note: what its visits were refused for, whose turn it is and what to do, as login sync_run.

    Codes, statuses and names of fields only: a value could be a patient's (design, rule 15).
    """
    facts = {"partner": partner, "run_key": run_key, "organizations": list(organizations)}
    with translated_errors():
        rows = conn.execute(statement("delivery.failed_in_run"), facts).fetchall()
    lines = [_line(key, list(found)) for key, found in groupby(rows, lambda row: (row["organization"], row["outcome"]))]
    yield from lines[:NAMED_ORGANIZATIONS]
    if len(lines) > NAMED_ORGANIZATIONS:
        yield f"+{len(lines) - NAMED_ORGANIZATIONS:,}"
    for outcome in sorted({row["outcome"] for row in rows}):
        yield from (_next(outcome, language, partner=partner) for language in _LANGUAGES)


_LANGUAGES: tuple[Language, ...] = ("ja", "en")


def _line(key: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """'aoba: 拒否 / rejected: start: too_early (422) 3, ...', the most frequent first."""
    (organization, outcome), causes = key, [_cause(row) for row in rows]
    more = f", +{len(causes) - NAMED_CAUSES:,}" if len(causes) > NAMED_CAUSES else ""
    names = " / ".join(count_name(outcome, language) for language in _LANGUAGES)
    return f"{organization}: {names}: {', '.join(causes[:NAMED_CAUSES])}{more}"


def _cause(row: Mapping[str, Any]) -> str:
    """'start: too_early (422) 3', or the code of a refusal that names no field."""
    status = f" ({row['status']})" if row["status"] else ""
    return f"{row['field'] or row['code']}{status} {row['count']:,}"


def _next(outcome: str, language: Language, *, partner: str) -> str:
    turn, action = whose_turn(outcome, language, partner=partner), entry(outcome).next_action.fill(language)
    return f"担当: {turn}。{action}" if language == "ja" else f"Whose turn: {turn}. {action}"
