"""Merge: the accepted rows of a slice into the canonical tables, in one transaction.

What a slice may do depends on what is known of it. A complete one does all. One whose last page was reached but whose
total disagrees, or of which a page came twice, still brings the rows that are present; nothing is read from absence
and the watermark stays (rule 12). One that broke off moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from psycopg import Cursor, Rollback, sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from partner_sync.database import Connection, translated_errors
from partner_sync.master import slices
from partner_sync.master.guard import UNUSUAL_RECORDS, Guard, Held, MergeCounts, cause_of
from partner_sync.master.slices import SliceKey, SliceProgress
from partner_sync.statements import statement


def merge_slice(
    conn: Connection,
    key: SliceKey,
    *,
    mastered: bool,
    match_by: Sequence[str] = (),
    guard: Guard | None = None,
    overlap_seconds: float = 0,
) -> MergeCounts:
    """Merge a validated slice as ``sync_merge``; a second call for the same slice returns the first one's figures.

    ``mastered``: the partner is the organization's master of the entity. If not, no canonical row changes: its keys
    are joined by the fields ``match_by``, where both sides have exactly one. ``overlap_seconds`` is taken off the
    watermark. A merge that ``guard`` holds is rolled back; only its figures stay, with the state held.

    Raises SliceIncompleteError for a slice that broke off, lost rows, or was not validated after it was read.
    """
    with translated_errors(), conn.transaction():
        work = _Merge(conn, key)
        work.run("take_turn")
        done = work.one("find_merge")
        if done is not None:
            return MergeCounts(**done | {"held": Held.from_json(done["held"]) if done["held"] else None})
        if mastered:
            counts = _merge_as_master(work, guard=guard or Guard(), overlap_seconds=overlap_seconds)
        else:
            counts = _join_keys(work, match_by)
        kept = None if counts.held is None else Jsonb(counts.held.as_json())
        work.run("record_merge", **asdict(counts) | {"held": kept})
        return counts


def held_since(conn: Connection, key: SliceKey, held: Held) -> str:
    """The run key of the merge that was held first for what holds this one (``cause_of``), as ``sync_merge``."""
    parameters = key.as_parameters() | {"mode": held.mode}
    with translated_errors():
        rows = conn.execute(statement("merge_held.held_since_merged"), parameters).fetchall()
    return cause_of((row["run_key"], Held.from_json(row["held"])) for row in rows)


class _Merge:
    """The statements of one merge, with the slice's parameters and tables filled in."""

    def __init__(self, conn: Connection, key: SliceKey) -> None:
        self.conn = conn
        self.key = key
        self._tables = {
            "rows": sql.Identifier("staging", key.entity),
            "canonical": sql.Identifier("canonical", key.entity),
            "history": sql.Identifier("canonical", f"{key.entity}_history"),
            "accepted": sql.Identifier("quality", f"accepted_{key.entity}"),
        }

    def run(self, name: str, *, file: str = "merge", **values: Any) -> int:
        """Run a statement; returns how many rows it touched."""
        return self._execute(name, file, values).rowcount

    def one(self, name: str, *, file: str = "merge", **values: Any) -> dict[str, Any] | None:
        """The row that a statement gives, or None."""
        return self._execute(name, file, values).fetchone()

    def number(self, name: str, **values: Any) -> int:
        """The one number that a statement gives."""
        row = self.one(name, **values) or {}
        return int(next(iter(row.values()), 0))

    def _execute(self, name: str, file: str, values: dict[str, Any]) -> Cursor[DictRow]:
        query = sql.SQL(statement(f"{file}.{name}")).format(**self._tables)
        return self.conn.execute(query, self.key.as_parameters() | values)


def _usable_slice(work: _Merge) -> tuple[SliceProgress, bool]:
    """The slice, and whether absence may be read from it; raises SliceIncompleteError."""
    progress = slices.found(work.conn, work.key)
    if progress.state == "open" or not progress.last_page_reached:
        raise work.key.incomplete(progress.problem or "it is still open")
    facts = work.one("staged_facts") or {}
    if facts["staged"] != progress.records:
        raise work.key.incomplete("rows that were read are no longer in staging")
    if facts["judged_row_id"] is None or (facts["last_row_id"] or 0) > facts["judged_row_id"]:
        raise work.key.incomplete("it was not validated after it was read")
    # A record without a readable key could be any of those that seem to be absent.
    all_known = progress.state == "complete" and progress.mode == "full" and facts["without_key"] == 0
    return progress, all_known


def _merge_as_master(work: _Merge, *, guard: Guard, overlap_seconds: float) -> MergeCounts:
    progress, all_known = _usable_slice(work)
    live, held = work.number("count_live"), None
    unusual = work.one("unusual_records", file="merge_held", unusual=UNUSUAL_RECORDS) or {}
    with work.conn.transaction() as attempt:
        counts = _change_canonical(work, read_absence=all_known)
        would = Held(mode=progress.mode, live=live, changed=counts.updated, removed=counts.tombstoned, **unusual)
        if counts.tombstoned and work.key.entity == "patient":
            removed = work.one("count_removed_with_visits", file="merge_held") or {}
            would = replace(would, with_visits=removed["with_visits"])
        if why := guard.reasons(would):
            held = replace(_with_sample(work, would), why=why)
            raise Rollback(attempt)
        if progress.state == "complete":
            work.run("move_watermark", overlap_seconds=overlap_seconds)
    return counts if held is None else replace(counts, state="held", held=held)


def _with_sample(work: _Merge, would: Held) -> Held:
    """With some of our own ids of what this transaction has changed and removed, before it is rolled back."""
    found = work.one("sample_touched", file="merge_held") or {}
    return replace(would, changed_ids=tuple(found["changed_ids"]), removed_ids=tuple(found["removed_ids"]))


def _change_canonical(work: _Merge, *, read_absence: bool) -> MergeCounts:
    work.run("own_keys")
    accepted = work.number("mint")
    merged = work.one("merge", file=f"merge_{work.key.entity}") or {}
    tombstoned = work.run("tombstone_deleted")
    work.run("note_present")
    if read_absence:
        work.run("note_absent")
        tombstoned += work.run("tombstone_absent")
    return MergeCounts(
        inserted=merged["inserted"],
        updated=merged["updated"],
        unchanged=accepted - merged["inserted"] - merged["updated"],
        tombstoned=tombstoned,
    )


def _join_keys(work: _Merge, match_by: Sequence[str]) -> MergeCounts:
    _usable_slice(work)
    if match_by:
        work.run("join_by_identifier", match_by=list(match_by))
    joined = work.number("count_joined")
    return MergeCounts(inserted=0, updated=0, unchanged=joined, tombstoned=0)
