"""The claims of one pusher: what it has taken, sent and settled (sql/delivery.sql; design, rules 2-4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any

import orjson

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.verdict import Verdict
from partner_sync.kinds.interface import Action, LookUp, VisitCall
from partner_sync.statements import statement

#: How long a push waits, at its end, for visits that are being edited.
EDITED_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.1

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
    """An item that may be claimed. ``named``: the partner has given the visit a name of its own; ``held``: it is known
    to hold it, perhaps under a name that we never learnt.
    """

    visit_id: str
    action: Action
    office_id: int
    named: bool
    held: bool


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Items that cannot leave for now, their limit is reached: those of an office, or of an action; None: of any."""

    office_id: int | None
    action: Action | None = None
    named: bool | None = None
    held: bool | None = None

    @property
    def all_of_them(self) -> bool:
        return self.office_id is None and self.action is None


@dataclass(frozen=True, kw_only=True)
class LostAnswer(Candidate):
    """An attempt whose answer was lost and whose settle time has come."""

    attempt_id: int


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claimed attempt with its call. ``alone``: the partner has refused it as part of a batch. ``sent_key``: the key
    under which its lost call went, when only the very same call may be repeated. ``look_up``: where one that was begun
    earlier goes on.
    """

    attempt_id: int
    call: VisitCall
    office_id: int
    alone: bool = False
    sent_key: str | None = None
    look_up: LookUp = field(default_factory=LookUp)

    @property
    def visit_id(self) -> str:
        return self.call.visit_id

    @property
    def action(self) -> Action:
        return self.call.action

    @property
    def named(self) -> bool:
        return self.call.partner_ref is not None

    @property
    def held(self) -> bool:
        return self.call.held


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """How many items of a scope are not settled, and when to look again (None: nothing by itself)."""

    count: int
    retry_at: datetime | None


class Claims:
    """One pusher's claims in one scope. Its session lock says that it lives, for as long as its connection does.

    ``lock`` is held for each statement: other threads may use the connection in between.
    """

    def __init__(self, conn: Connection, scope: Scope, *, run_key: str, lock: threading.Lock | None = None) -> None:
        self._conn = conn
        self._lock = lock or threading.Lock()
        self._facts = vars(scope) | {"needs": list(scope.needs), "run_key": run_key}
        self._facts["owner"] = self._rows("become_owner")[0]["owner"]

    def recover(self) -> int:
        """Give up what dead pushers claimed and did not send; what they sent becomes unknown."""
        return int(self._rows("recover")[0]["recovered"])

    def close_without_call(self) -> int:
        """Close what needs no call (created and cancelled before it was sent)."""
        return int(self._rows("close_without_call")[0]["closed"])

    def candidates(
        self, count: int, *, but: Iterable[str] = (), closed: Collection[Closed] = ()
    ) -> tuple[Candidate, ...]:
        """Up to ``count`` items that may be claimed now, the oldest first: none of the visits ``but``, and none that is
        ``closed``.
        """
        offices = [each.office_id for each in closed if each.action is None and each.office_id is not None]
        others = [each for each in closed if each.action is not None]
        facts: dict[str, object] = {"but": list(but), "offices": offices}
        for name in ("office_id", "action", "named", "held"):
            facts[f"closed_{name}"] = [getattr(each, name) for each in others]
        return tuple(Candidate(**row) for row in self._rows("candidates", count=count, **facts))

    def claim_to_send(self, visits: Sequence[str], *, settle_after_seconds: float) -> tuple[Claimed, ...]:
        """Claim the items of these visits and write that their calls leave: what is returned leaves within its grant's
        time, or is given up. A visit that is being edited or was taken by another is left out.
        """
        rows = self._rows("claim_to_send", visits=list(visits), settle_after_seconds=settle_after_seconds)
        return tuple(_claimed(row) for row in rows)

    def unknown_due(self, count: int) -> tuple[LostAnswer, ...]:
        """Up to ``count`` lost answers that may be looked up now, the oldest first."""
        return tuple(LostAnswer(**row) for row in self._rows("unknown_due", count=count))

    def take_unknown(self, attempts: Sequence[int], *, settle_after_seconds: float) -> tuple[Claimed, ...]:
        """Lease these attempts, those of them whose settle time has come and that no other pusher has taken."""
        facts = {"attempts": list(attempts), "count": len(attempts)}
        taken = [row["id"] for row in self._rows("take_unknown", **facts, settle_after_seconds=settle_after_seconds)]
        if not taken:
            return ()
        before = {row["id"]: _values(row) for row in self._rows("before", attempts=taken)}
        places = {row["id"]: LookUp(**row["look_up"]) for row in self._rows("look_ups", attempts=taken)}
        return tuple(
            replace(
                one,
                call=replace(one.call, before=before.get(one.attempt_id)),
                look_up=places.get(one.attempt_id, LookUp()),
            )
            for one in self._claimed(taken)
        )

    def note_keys(self, keys: Mapping[int, str]) -> None:
        """Keep under which keys these attempts leave, by attempt id, before they do: no other call may repeat them."""
        self._rows("note_keys", attempts=list(keys), keys=list(keys.values()))

    def mark_sent(self, claimed: Sequence[Claimed], *, settle_after_seconds: float) -> tuple[Claimed, ...]:
        """Write, before the calls leave, that they leave; only what is returned may be sent."""
        attempts = [one.attempt_id for one in claimed]
        rows = self._rows("mark_sent", attempts=attempts, settle_after_seconds=settle_after_seconds)
        marked = {row["id"] for row in rows}
        return tuple(one for one in claimed if one.attempt_id in marked)

    def give_up(self, attempts: Sequence[int]) -> None:
        """These calls have surely not left: their items are free again, a lost answer stays one."""
        self._rows("give_up", attempts=list(attempts))

    def settle_free(self, items: Sequence[Mapping[str, Any]], *, max_attempts: int) -> frozenset[int]:
        """Write what became of attempts (``Verdict.as_item``) in one transaction; returns the attempts that are not
        written yet because their visits are being edited at this moment.
        """
        rows = self._rows("settle_free", items=orjson.dumps(list(items)).decode(), max_attempts=max_attempts)
        return frozenset(row["attempt_id"] for row in rows)

    def settle_soon(self, items: Sequence[Mapping[str, Any]], *, max_attempts: int) -> None:
        """The same; a visit that is being edited is waited for, a few seconds. Then its answer is kept for the next
        pusher, who writes it down (``settle_kept``): an edit may take as long as a person types.
        """
        ends_at, left = time.monotonic() + EDITED_SECONDS, list(items)
        while left:
            busy = self.settle_free(left, max_attempts=max_attempts)
            left = [item for item in left if item["attempt"] in busy]
            if left and time.monotonic() >= ends_at:
                self._rows("keep_answers", items=orjson.dumps(left).decode())
                return
            time.sleep(_LOOK_AGAIN_SECONDS if left else 0.0)

    def settle_kept(self, *, max_attempts: int) -> None:
        """Write down the answers that ``recover`` has taken over; those of visits that are still edited stay kept."""
        if kept := [row["answer"] for row in self._rows("kept_answers")]:
            self.settle_free(kept, max_attempts=max_attempts)

    def settle(self, verdicts: Mapping[int, Verdict], *, max_attempts: int) -> None:
        """``settle_soon`` of verdicts, by attempt id."""
        self.settle_soon([each.as_item(attempt) for attempt, each in verdicts.items()], max_attempts=max_attempts)

    def note_look_ups(self, claimed: Iterable[Claimed]) -> None:
        """Where these look-ups stopped; the next pusher goes on there. One that has come to its end begins anew."""
        moved = [one for one in claimed if one.look_up.position or one.look_up.kept]
        places = {
            str(one.attempt_id): asdict(replace(one.look_up, kept=True)) if one.look_up.position else None
            for one in moved
        }
        if places:
            self._rows("note_look_ups", places=orjson.dumps(places).decode())

    def unsettled(self) -> Unsettled:
        """What of the scope is still to come."""
        return Unsettled(**self._rows("unsettled")[0])

    def _claimed(self, attempts: list[int]) -> tuple[Claimed, ...]:
        return tuple(_claimed(row) for row in self._rows("calls", attempts=attempts)) if attempts else ()

    def _rows(self, name: str, **facts: object) -> list[dict[str, Any]]:
        with self._lock, translated_errors():
            cursor = self._conn.execute(statement(f"delivery.{name}"), self._facts | facts)
            return cursor.fetchall() if cursor.description else []


def _claimed(row: Mapping[str, Any]) -> Claimed:
    return Claimed(
        attempt_id=row["id"],
        call=visit_call(row),
        office_id=row["office_id"],
        alone=row["alone"],
        sent_key=row["sent_key"],
    )


def _values(row: Mapping[str, Any]) -> dict[str, object]:
    return {name: row[name] for name in _VALUES}


def visit_call(row: Mapping[str, Any]) -> VisitCall:
    """The call for one row of sync.calls, or of the statements ``release.sample_calls`` and ``reconcile.calls``, which
    leave it open what the partner holds.
    """
    return VisitCall(
        visit_id=row["visit_id"],
        action=row["action"],
        week=row["week"],
        idempotency_key=row["idempotency_key"],
        values=_values(row),
        partner_ref=row["partner_ref"],
        held=row.get("held", False),
    )
