"""Lost answers of which only a person can say what became of them (design, rule 4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from partner_sync.database import Connection, translated_errors
from partner_sync.kinds.interface import Action
from partner_sync.statements import statement

ParkedOutcome = Literal["accepted", "withdrawn", "retry"]


@dataclass(frozen=True, kw_only=True)
class ParkedVisit:
    """A visit whose last call has no known outcome; it stays claimed until a person answers."""

    visit_id: str
    action: Action
    week: date
    office_id: int
    sent_at: datetime


def parked_visits(conn: Connection, *, partner: str, organization: str) -> tuple[ParkedVisit, ...]:
    """The visits that wait for a person's word, the oldest first (logins sync_release, sync_push, sync_run)."""
    facts = {"partner": partner, "organization": organization}
    with translated_errors():
        rows = conn.execute(statement("delivery.parked_visits"), facts).fetchall()
    return tuple(ParkedVisit(**row) for row in rows)


def answer_parked(
    conn: Connection,
    *,
    partner: str,
    organization: str,
    visit_id: str,
    there: bool,
    requested_by: str,
    run_key: str,
) -> ParkedOutcome | None:
    """A person's word, as login sync_release: does the partner hold the visit as it was sent (one that was to be taken
    away: still)? Returns what becomes of it ('retry': it is sent again); None when nothing of it is parked.

    A retry of the same run changes nothing and returns the same.
    """
    facts = {
        "partner": partner,
        "organization": organization,
        "visit_id": visit_id,
        "there": there,
        "requested_by": requested_by,
        "run_key": run_key,
    }
    with translated_errors():
        row = conn.execute(statement("delivery.answer_parked"), facts).fetchone()
    return row["outcome"] if row else None
