"""The claims of one pusher: what it has taken, sent and settled (sql/delivery.sql; design, rules 2-4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.verdict import Verdict
from partner_sync.kinds.interface import Action, VisitCall
from partner_sync.statements import statement

_VALUES = (
    "visit_id", "organization", "week", "office_key", "patient_key", "practitioner_key", "service_code",
    "start_at", "end_at", "status", "actual_start_at", "actual_end_at", "note",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose items, and of which week (None: of all released weeks). ``needs``: entities whose key the partner wants."""

    partner: str
    organization: str
    needs: tuple[str, ...]
    week: date | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An item that may be claimed. ``named``: the partner has given the visit a name of its own."""

    visit_id: str
    action: Action
    office_id: int
    named: bool


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claimed attempt with its call."""

    attempt_id: int
    call: VisitCall


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """How many items of a scope are not settled, and when to look again (None: nothing by itself)."""

    count: int
    retry_at: datetime | None


class Claims:
    """One pusher's claims in one scope. Its session lock says that it lives, for as long as its connection does."""

    def __init__(self, conn: Connection, scope: Scope, *, run_key: str) -> None:
        self._conn = conn
        self._facts = vars(scope) | {"needs": list(scope.needs), "run_key": run_key}
        self._facts["owner"] = self._rows("become_owner")[0]["owner"]

    def recover(self) -> int:
        """Give up what dead pushers claimed and did not send; what they sent becomes unknown."""
        return int(self._rows("recover")[0]["recovered"])

    def close_without_call(self) -> int:
        """Close what needs no call (created and cancelled before it was sent)."""
        return int(self._rows("close_without_call")[0]["closed"])

    def candidates(self, count: int, *, but: Iterable[str] = ()) -> tuple[Candidate, ...]:
        """Up to ``count`` items that may be claimed now, the oldest first, none of the visits ``but``."""
        return tuple(Candidate(**row) for row in self._rows("candidates", count=count, but=list(but)))

    def claim(self, visits: Sequence[str]) -> tuple[Claimed, ...]:
        """Claim the items of these visits; a visit that is being edited or was taken by another is left out."""
        return self._claimed([row["id"] for row in self._rows("claim", visits=list(visits))])

    def unknown_due(self) -> int:
        """How many lost answers may be read back now."""
        return int(self._rows("unknown_due")[0]["due"])

    def take_unknown(self, count: int, *, settle_after_seconds: float) -> tuple[Claimed, ...]:
        """Lease up to ``count`` attempts whose settle time has come."""
        rows = self._rows("take_unknown", count=count, settle_after_seconds=settle_after_seconds)
        return self._claimed([row["id"] for row in rows])

    def mark_sent(self, claimed: Sequence[Claimed], *, settle_after_seconds: float) -> tuple[Claimed, ...]:
        """Write, before the calls leave, that they leave; only what is returned may be sent."""
        attempts = [one.attempt_id for one in claimed]
        rows = self._rows("mark_sent", attempts=attempts, settle_after_seconds=settle_after_seconds)
        marked = {row["id"] for row in rows}
        return tuple(one for one in claimed if one.attempt_id in marked)

    def settle(self, verdicts: Mapping[int, Verdict], *, max_attempts: int) -> None:
        """Write what became of attempts (by attempt id), each in a transaction of its own; waits for visits that are
        being edited.
        """
        for attempt, verdict in verdicts.items():
            item = orjson.dumps(verdict.as_item(attempt)).decode()
            self._rows("settle", item=item, max_attempts=max_attempts)

    def unsettled(self) -> Unsettled:
        """What of the scope is still to come."""
        return Unsettled(**self._rows("unsettled")[0])

    def _claimed(self, attempts: list[int]) -> tuple[Claimed, ...]:
        if not attempts:
            return ()
        return tuple(
            Claimed(attempt_id=row["id"], call=visit_call(row)) for row in self._rows("calls", attempts=attempts)
        )

    def _rows(self, name: str, **facts: object) -> list[dict[str, Any]]:
        with translated_errors():
            cursor = self._conn.execute(statement(f"delivery.{name}"), self._facts | facts)
            return cursor.fetchall() if cursor.description else []


def visit_call(row: Mapping[str, Any]) -> VisitCall:
    """The call for one row of the statements ``delivery.calls`` and ``release.sample_calls``."""
    return VisitCall(
        visit_id=row["visit_id"],
        action=row["action"],
        week=row["week"],
        idempotency_key=row["idempotency_key"],
        values={name: row[name] for name in _VALUES},
        partner_ref=row["partner_ref"],
    )
