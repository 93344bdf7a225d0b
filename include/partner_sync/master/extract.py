"""Extract: a partner's pages into staging by COPY, one transaction a page, resumable after any of them.

Three things go on at once, each one page ahead of the next and never more: the partner is asked for page n + 2,
page n + 1 is mapped, and page n is copied. Memory does not grow with the number of pages.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import PagingLoopError
from partner_sync.kinds.interface import Capabilities, Page, PartnerKind
from partner_sync.master import slices
from partner_sync.master.rows import PageRows, copy_columns, rows_of
from partner_sync.master.slices import Mode, SliceCounts, SliceKey, SliceProgress, Step
from partner_sync.partners.mapping import RecordMapper
from partner_sync.statements import statement


def extract_slice(
    conn: Connection,
    key: SliceKey,
    *,
    kind: PartnerKind,
    mapper: RecordMapper,
    mode: Mode,
    since_at: datetime | None = None,
) -> SliceCounts:
    """List an entity into staging, as ``sync_extract``; a slice of the same run that is open goes on where it was.

    ``since_at`` (aware) reloads from that time; without it an incremental listing starts at the watermark, and is a
    full one where there is no watermark or the partner cannot list changes. Once a day it is a full one too, where the
    partner does not list who is gone: only absence from full listings tells (design, rule 12).

    The errors of ``PartnerKind.pages`` pass through after the pages read so far are committed: the slice stays open,
    and the next call resumes it. PagingLoopError leaves it incomplete, because a resumed one would loop again.
    Raises SliceIncompleteError when another task works on the same slice.
    """
    with translated_errors():
        progress = _open(conn, key, can=kind.can, mode=mode, since_at=since_at)
        if progress.state == "complete":
            return progress.counts()
        if not progress.last_page_reached:
            _read_to_the_end(conn, key, progress=progress, kind=kind, mapper=mapper)
        return slices.finish(conn, key)


def _open(
    conn: Connection, key: SliceKey, *, can: Capabilities, mode: Mode, since_at: datetime | None
) -> SliceProgress:
    progress = slices.find(conn, key)
    usable = progress is not None and progress.state != "incomplete"
    if progress is not None and usable and slices.count_rows(conn, key) == progress.records:
        return progress
    start = None
    if mode == "incremental" and can.incremental:
        start = since_at or (None if not can.deletes and _full_is_due(conn, key) else _watermark(conn, key))
    return slices.begin(conn, key, mode="full" if start is None else "incremental", since_at=start)


def _full_is_due(conn: Connection, key: SliceKey) -> bool:
    row = conn.execute(statement("extract.full_is_due"), key.as_parameters()).fetchone()
    return row is None or bool(row["due"])


def _watermark(conn: Connection, key: SliceKey) -> datetime | None:
    row = conn.execute(statement("extract.read_watermark"), key.as_parameters()).fetchone()
    return None if row is None else row["source_at"]


def _read_to_the_end(
    conn: Connection, key: SliceKey, *, progress: SliceProgress, kind: PartnerKind, mapper: RecordMapper
) -> None:
    pages = kind.pages(key.entity, since=progress.since_at, position=progress.position)
    digests = slices.page_digests(conn, key) if progress.pages else set()
    try:
        with (
            _pages_without_waiting_for_the_disk(conn),
            _busy_threads(),
            ThreadPoolExecutor(1, "fetch") as fetcher,
            ThreadPoolExecutor(1, "copy") as copier,
        ):
            store = _Store(conn, key, mapper, copier, pages=progress.pages, digests=digests)
            with store:
                for page in _one_ahead(pages, fetcher):
                    store.add(page)
    except PagingLoopError:
        slices.finish(conn, key, loop=True)
        raise


@contextmanager
def _pages_without_waiting_for_the_disk(conn: Connection) -> Iterator[None]:
    """Commit without waiting for the disk: safe, because a page and its position are lost together or not at all.

    The verdict on the slice waits for the disk again, and with it for everything that was written before it.
    """
    conn.execute(statement("extract.commit_without_waiting"))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute(statement("extract.commit_waiting"))


@contextmanager
def _busy_threads() -> Iterator[None]:
    """Set the interpreter for this work, and back: a thread gives way after 0.5 ms instead of 5, or the others wait
    longer for the interpreter than for the network; and cycles are looked for after 100,000 new objects instead of
    700, because decoded JSON has none (what is no longer used is freed at once all the same).
    """
    threshold, interval_seconds = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(100_000, *threshold[1:])
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval_seconds)


def _one_ahead(pages: Iterator[Page], worker: Executor) -> Iterator[Page]:
    """The pages, of which the next is already being fetched; an error comes after the pages before it."""
    upcoming = worker.submit(next, pages, None)
    while (page := upcoming.result()) is not None:
        upcoming = worker.submit(next, pages, None)
        yield page


@dataclass
class _Store:
    """Maps pages and hands them to the copying thread, one at a time; leaving the block waits for the last."""

    conn: Connection
    key: SliceKey
    mapper: RecordMapper
    copier: Executor
    pages: int = field(kw_only=True)
    digests: set[str] = field(kw_only=True)
    _copying: Future[None] | None = None

    def __enter__(self) -> None:
        self._copy_rows = sql.SQL(statement("extract.copy_rows")).format(
            rows=sql.Identifier("staging", self.key.entity),
            columns=sql.SQL(", ").join(map(sql.Identifier, copy_columns(self.mapper))),
        )

    def __exit__(self, *_error: object) -> None:
        # Also when the listing broke off: what was read before is committed before the error goes on.
        self._wait()

    def add(self, page: Page) -> None:
        rows = rows_of(page.records, mapper=self.mapper, key=self.key, page=self.pages + 1)
        step = Step(
            pages=self.pages,
            records=rows.records,
            position=None if page.next_position is None else dict(page.next_position),
            total=page.total,
            repeated_page=page.repeated or (rows.records > 0 and rows.digest in self.digests),
        )
        self._wait()
        self._copying = self.copier.submit(self._copy, rows, step)
        self.pages += 1
        self.digests.add(rows.digest)

    def _wait(self) -> None:
        copying, self._copying = self._copying, None
        if copying is not None:
            copying.result()

    def _copy(self, rows: PageRows, step: Step) -> None:
        with self.conn.transaction():
            slices.advance(self.conn, self.key, step)
            if rows.records:
                with self.conn.cursor() as cursor, cursor.copy(self._copy_rows) as copy:
                    copy.write(rows.text)
