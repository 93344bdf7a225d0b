"""A slice: one listing of one entity of one organization by one run, as its row in staging.slice tells it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import sql
from psycopg.types.json import Jsonb

from partner_sync.database import Connection
from partner_sync.errors import SliceIncompleteError
from partner_sync.master.shapes import Shapes
from partner_sync.partners.fields import Entity
from partner_sync.statements import statement

Mode = Literal["full", "incremental"]
State = Literal["open", "complete", "incomplete"]


@dataclass(frozen=True, kw_only=True)
class SliceKey:
    """Which slice. ``run_key`` is the run's own id: a retry and a cleared task of one run have the same."""

    partner: str
    organization: str
    entity: Entity
    run_key: str

    def as_parameters(self) -> dict[str, Any]:
        return asdict(self)

    def incomplete(self, problem: str) -> SliceIncompleteError:
        """The error that says why this slice cannot be used."""
        return SliceIncompleteError(**asdict(self), problem=problem)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the partner file says of a listing: so many records at most; the newest is no older than so many hours."""

    most_records: int | None = None
    fresh_within_hours: int | None = None


@dataclass(frozen=True, kw_only=True)
class SliceCounts:
    """How far a slice has come. ``problem`` says why it is incomplete, without any value of a record."""

    state: State
    mode: Mode
    since_at: datetime | None
    pages: int
    records: int
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class SliceProgress:
    """The slice row: ``position`` is where the listing goes on; None at the start and after the last page."""

    state: State
    mode: Mode
    since_at: datetime | None
    position: dict[str, Any] | None
    pages: int
    records: int
    reported_total: int | None
    last_page_reached: bool
    repeated_page: bool
    most_records: int | None

    @property
    def problem(self) -> str | None:
        """Why absence may not be read from this listing (design, rule 12); None when it may."""
        if not self.last_page_reached:
            return "the last page was not reached"
        if self.repeated_page:
            return "a page came twice"
        if self.reported_total is not None and self.reported_total != self.records:
            return f"the partner reports {self.reported_total} records and listed {self.records}"
        if self.most_records is not None and self.records >= self.most_records:
            return f"the partner lists {self.most_records} records at most and listed {self.records}"
        return None

    def counts(self) -> SliceCounts:
        return SliceCounts(
            state=self.state,
            mode=self.mode,
            since_at=self.since_at,
            pages=self.pages,
            records=self.records,
            problem=None if self.state == "complete" else self.problem,
        )


def on_rows(name: str, entity: Entity) -> sql.Composed:
    """A statement of extract.sql on the entity's staging table."""
    return sql.SQL(statement(f"extract.{name}")).format(rows=sql.Identifier("staging", entity))


def find(conn: Connection, key: SliceKey) -> SliceProgress | None:
    """The slice as its row says, or None."""
    row = conn.execute(statement("extract.find_slice"), key.as_parameters()).fetchone()
    return None if row is None else SliceProgress(**row)


def found(conn: Connection, key: SliceKey) -> SliceProgress:
    """The slice as its row says; raises SliceIncompleteError when it has none."""
    progress = find(conn, key)
    if progress is None:
        raise key.incomplete("nothing was read yet")
    return progress


def count_rows(conn: Connection, key: SliceKey) -> int:
    """How many rows of the slice are really in staging."""
    row = conn.execute(on_rows("count_rows", key.entity), key.as_parameters()).fetchone()
    return int(row["records"]) if row else 0


def begin(
    conn: Connection, key: SliceKey, *, mode: Mode, since_at: datetime | None, terms: Terms | None = None
) -> SliceProgress:
    """Open the slice afresh; the organization's older rows of the entity go (one transaction)."""
    told = asdict(terms or Terms()) | {"mode": mode, "since_at": since_at}
    with conn.transaction():
        # The slice row first: its lock makes two beginners of one slice wait for each other.
        conn.execute(statement("extract.begin_slice"), key.as_parameters() | told)
        conn.execute(on_rows("clear_rows", key.entity), key.as_parameters())
        conn.execute(statement("shapes.clear_fields"), key.as_parameters())
    return found(conn, key)


def page_digests(conn: Connection, key: SliceKey) -> set[str]:
    """The digests of the pages that are already in staging."""
    return {row["digest"] for row in conn.execute(on_rows("page_digests", key.entity), key.as_parameters())}


@dataclass(frozen=True, kw_only=True)
class Step:
    """``count`` pages as the slice row counts them; ``pages`` is how many came before them."""

    pages: int
    count: int
    records: int
    position: dict[str, Any] | None
    total: int | None
    repeated_page: bool


def advance(conn: Connection, key: SliceKey, step: Step) -> None:
    """Note pages, inside the transaction that copies them; raises SliceIncompleteError when somebody else has."""
    parameters = key.as_parameters() | asdict(step)
    parameters["position"] = None if step.position is None else Jsonb(step.position)
    parameters["last_page_reached"] = step.position is None
    if conn.execute(statement("extract.advance_slice"), parameters).fetchone() is None:
        raise key.incomplete("another task reads or has replaced it")


def known_paths(conn: Connection, key: SliceKey) -> list[str]:
    """The fields that the pages in staging have."""
    return [row["path"] for row in conn.execute(statement("shapes.known_paths"), key.as_parameters())]


def add_fields(conn: Connection, key: SliceKey, shapes: Shapes) -> None:
    """Note what the pages looked like, inside the transaction that copies them."""
    counts, tables = shapes.take()
    if tables:
        conn.execute(statement("shapes.drop_tables"), key.as_parameters() | {"tables": sorted(tables)})
    if counts:
        paths, types = zip(*counts, strict=True)
        found = {"paths": list(paths), "types": list(types), "seen": list(counts.values())}
        conn.execute(statement("shapes.add_fields"), key.as_parameters() | found)


def finish(conn: Connection, key: SliceKey, *, loop: bool = False) -> SliceCounts:
    """Judge an open slice: complete, or incomplete with the problem that the counts carry.

    Raises SliceIncompleteError when rows that were counted are not in staging.
    """
    with conn.transaction():
        progress = found(conn, key)
        if count_rows(conn, key) != progress.records:
            raise key.incomplete("rows that were read are no longer in staging")
        state = "incomplete" if loop or progress.problem else "complete"
        verdict = {"state": state, "repeated_page": loop}
        conn.execute(statement("extract.finish_slice"), key.as_parameters() | verdict)
    return found(conn, key).counts()
