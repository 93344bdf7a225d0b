"""One comparison in the database: what was seen, and the verdict on it (sql/reconcile.sql, migration 0014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.claims import visit_call
from partner_sync.kinds.interface import VisitCall
from partner_sync.statements import statement

Round = Literal[1, 2]
Found = Literal["same", "different", "absent"]

#: The number of the look that confirms: the visit was read back by itself.
READ_BACK = 3


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """What is compared, and for which run. ``round`` 2 is the comparison after a repair of the same run.

    ``needs``: entities whose key the partner wants; without one a visit is blocked, and no difference.
    ``settle_after_seconds``: how long after a call the partner may still be working on it.
    """

    partner: str
    organization: str
    week: date
    run_key: str
    needs: tuple[str, ...]
    settle_after_seconds: float
    round: Round = 1


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a comparison has come: ``listed`` readings of the list have ended, ``position`` is in the present one."""

    id: int
    listed: int
    position: Mapping[str, Any] | None
    records: int
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Known:
    """A visit of the organization as it stands now: its version, and the call that would send it."""

    version: int
    call: VisitCall


class Look(NamedTuple):
    """How, and when by the database's clock, the partner was asked: 1 or 2 is that reading of its list, READ_BACK
    confirms.
    """

    number: int
    asked_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What one look at a visit has shown. ``version`` is what it was compared with; None: the organization has no such
    visit.
    """

    visit_id: str
    partner_ref: str | None
    look: Look
    version: int | None
    found: Found
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A comparison in numbers. ``differences`` by kind: missing, different, extra (ours, taken back before),
    duplicate, foreign (an id that is another organization's or nobody's). ``unsettled`` by reason: nothing can be said.

    ``not_ours``: records without a visit id of ours. ``repaired``: differences that are on their way to the partner.
    """

    same: int = 0
    not_ours: int = 0
    todo_rebuilt: int = 0
    repaired: int = 0
    differences: Mapping[str, int] = field(default_factory=dict)
    unsettled: Mapping[str, int] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        return sum(self.differences.values())


class Comparison:
    """One comparison, as login sync_push. It survives its process: the next one goes on where this one stopped."""

    def __init__(self, conn: Connection, comparing: Comparing) -> None:
        self._conn = conn
        self._facts: dict[str, object] = vars(comparing) | {"needs": list(comparing.needs)}
        self.state = self._state("open")
        self._facts["id"] = self.state.id

    def begin_listing(self) -> None:
        """The list is read from its beginning; what a broken reading has shown does not count."""
        self.state = self._state("begin_listing")

    def note_page(
        self, sightings: Sequence[Sighting], *, records: int, not_ours: int, position: Mapping[str, Any] | None
    ) -> None:
        """Keep what one page has shown; without a ``position`` the list has ended."""
        page = {"position": position, "records": records, "not_ours": not_ours, "ended": position is None}
        with translated_errors(), self._conn.transaction():
            self.note(sightings)
            self.state = self._state("note_page", page=Jsonb(page))

    def note(self, sightings: Sequence[Sighting]) -> None:
        """Keep what was seen."""
        if sightings:
            self._rows("note_sightings", sightings=Jsonb([_as_json(each) for each in sightings]))

    def now(self) -> datetime:
        """The database's clock."""
        at: datetime = self._rows("now")[0]["at"]
        return at

    def known(self, visits: Sequence[str]) -> dict[str, Known]:
        """Those of these visits that are the organization's own."""
        rows = self._rows("calls", visits=list(visits)) if visits else []
        return {row["visit_id"]: Known(version=row["version"], call=visit_call(row)) for row in rows}

    def unconfirmed(self) -> tuple[str, ...]:
        """The visits of which a difference was seen that nothing has confirmed yet."""
        return tuple(row["visit_id"] for row in self._rows("unconfirmed"))

    def end(self) -> None:
        """Write the verdicts; a second time does nothing."""
        self._rows("end")

    def findings(self) -> Findings:
        """The comparison in numbers."""
        return _findings(self._rows("found"))

    def _state(self, name: str, **facts: object) -> State:
        return State(**self._rows(name, **facts)[0])

    def _rows(self, name: str, **facts: object) -> list[dict[str, Any]]:
        with translated_errors():
            cursor = self._conn.execute(statement(f"reconcile.{name}"), self._facts | facts)
            return cursor.fetchall() if cursor.description else []


def repair(conn: Connection, comparing: Comparing, *, missing_is_sure: bool, requested_by: str) -> Findings | None:
    """Ask anew for what the first comparison of the run found wrong, as login sync_push; returns what it found, with
    how many visits are ``repaired``. None: that comparison has not ended. A second time changes nothing.

    ``missing_is_sure``: what is sent again because it is missing cannot stand there twice.
    """
    facts = vars(comparing) | {"missing_is_sure": missing_is_sure, "requested_by": requested_by, "needs": []}
    with translated_errors():
        run = conn.execute(statement("reconcile.repair"), facts).fetchone()
        return _findings(conn.execute(statement("reconcile.found"), run).fetchall()) if run else None


def repaired_weeks(conn: Connection, *, partner: str, run_key: str, organizations: Sequence[str]) -> tuple[date, ...]:
    """The weeks in which a run's repairs wait to be sent."""
    facts = {"partner": partner, "run_key": run_key, "organizations": list(organizations)}
    with translated_errors():
        return tuple(row["week"] for row in conn.execute(statement("reconcile.repaired_weeks"), facts))


def _as_json(sighting: Sighting) -> dict[str, object]:
    number, asked_at = sighting.look
    facts = {name: value for name, value in vars(sighting).items() if name != "look"}
    return facts | {"pass": number, "fields": list(sighting.fields), "asked_at": asked_at.isoformat()}


#: How the reasons of an extra record are counted: ours is taken away by a repair, the others never are.
_EXTRA = {"taken_back": "extra", "duplicate": "duplicate"}


def _findings(rows: Sequence[Mapping[str, Any]]) -> Findings:
    differences: dict[str, int] = {}
    unsettled: dict[str, int] = {}
    for row in rows:
        if row["what"] == "unsettled":
            unsettled[row["why"]] = row["count"]
        elif row["what"] is not None:
            kind = _EXTRA.get(row["why"], "foreign") if row["what"] == "extra" else row["what"]
            differences[kind] = differences.get(kind, 0) + row["count"]
    first = rows[0]
    return Findings(
        same=first["same"],
        not_ours=first["not_ours"],
        todo_rebuilt=first["todo_rebuilt"],
        repaired=sum(row["repaired"] for row in rows),
        differences=differences,
        unsettled=unsettled,
    )
