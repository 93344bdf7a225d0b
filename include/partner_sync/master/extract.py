"""Extract: a partner's pages into staging by COPY, resumable after each transaction.

Pages that come quickly share one COPY: while the database parses what it was sent, the next page is fetched and mapped.
One thread does it all: with more of them the interpreter's lock cost more than the overlap won.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg
from psycopg import sql

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import PagingLoopError
from partner_sync.kinds.interface import Capabilities, Page, PartnerKind
from partner_sync.master import slices
from partner_sync.master.rows import PageRows, copy_columns, rows_of
from partner_sync.master.shapes import Shapes
from partner_sync.master.slices import Mode, SliceCounts, SliceKey, SliceProgress, Step, Terms
from partner_sync.partners.mapping import RecordMapper
from partner_sync.statements import statement

#: Pages of a quick partner share a transaction, so that the database works while the next page is fetched; those of a
#: slow one do not wait for each other.
BATCH_PAGES = 20
BATCH_SECONDS = 2.0


def extract_slice(
    conn: Connection,
    key: SliceKey,
    *,
    kind: PartnerKind,
    mapper: RecordMapper,
    mode: Mode,
    since_at: datetime | None = None,
    terms: Terms | None = None,
) -> SliceCounts:
    """List an entity into staging, as ``sync_extract``; a slice of the same run that is open goes on where it was.

    ``since_at`` (aware) reloads from that time; without it an incremental listing starts at the watermark, and is a
    full one where there is no watermark or the partner cannot list changes. Once a day it is a full one too, where the
    partner does not list who is gone: only absence from full listings tells (design, rule 12). ``terms`` are kept with
    the slice when it is opened.

    The errors of ``PartnerKind.pages`` pass through after the pages read so far are committed: the slice stays open,
    and the next call resumes it. PagingLoopError leaves it incomplete, because a resumed one would loop again.
    Raises SliceIncompleteError when another task works on the same slice.
    """
    with translated_errors():
        progress = _open(conn, key, can=kind.can, mode=mode, since_at=since_at, terms=terms)
        if progress.state == "complete":
            return progress.counts()
        if not progress.last_page_reached:
            _read_to_the_end(conn, key, progress=progress, kind=kind, mapper=mapper)
        return slices.finish(conn, key)


def _open(
    conn: Connection,
    key: SliceKey,
    *,
    can: Capabilities,
    mode: Mode,
    since_at: datetime | None,
    terms: Terms | None,
) -> SliceProgress:
    progress = slices.find(conn, key)
    usable = progress is not None and progress.state != "incomplete"
    if progress is not None and usable and slices.count_rows(conn, key) == progress.records:
        return progress
    start = None
    if mode == "incremental" and can.incremental:
        start = since_at or (None if not can.deletes and _full_is_due(conn, key) else _watermark(conn, key))
    return slices.begin(conn, key, mode="full" if start is None else "incremental", since_at=start, terms=terms)


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
    shapes = Shapes(slices.known_paths(conn, key) if progress.pages else ())
    try:
        with _pages_without_waiting_for_the_disk(conn), _few_looks_for_cycles():
            store = _Store(conn, key, mapper=mapper, pages=progress.pages, digests=digests, shapes=shapes)
            with store:
                for page in pages:
                    store.add(page)
    except PagingLoopError:
        slices.finish(conn, key, loop=True)
        raise


@contextmanager
def _pages_without_waiting_for_the_disk(conn: Connection) -> Iterator[None]:
    """Commit without waiting for the disk: safe, because pages and their position are lost together or not at all.

    The verdict on the slice waits for the disk again, and with it for everything that was written before it.
    """
    conn.execute(statement("extract.commit_without_waiting"))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute(statement("extract.commit_waiting"))


@contextmanager
def _few_looks_for_cycles() -> Iterator[None]:
    """Decoded JSON has no cycles, and what is no longer used is freed at once all the same."""
    threshold = gc.get_threshold()
    gc.set_threshold(100_000, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


@dataclass
class _Store:
    """Maps pages and copies them; pages that come within ``BATCH_SECONDS`` share a transaction.

    Leaving the block commits what came, also when the listing broke off: what was read stays read.
    """

    conn: Connection
    key: SliceKey
    mapper: RecordMapper = field(kw_only=True)
    pages: int = field(kw_only=True)
    digests: set[str] = field(kw_only=True)
    shapes: Shapes = field(kw_only=True)
    _batch: _Batch | None = None

    def __enter__(self) -> None:
        self._copy_rows = sql.SQL(statement("extract.copy_rows")).format(
            rows=sql.Identifier("staging", self.key.entity),
            columns=sql.SQL(", ").join(map(sql.Identifier, copy_columns(self.mapper))),
        )

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, psycopg.Error) and self._batch is not None:
            self._batch.abort(error)
            return
        self._commit()

    def add(self, page: Page) -> None:
        rows = rows_of(page.records, mapper=self.mapper, key=self.key, page=self.pages + 1)
        repeated = page.repeated or (rows.records > 0 and rows.digest in self.digests)
        if self._batch is None:
            self._batch = _Batch(self.conn, self._copy_rows, first_page=self.pages)
        self._batch.add(page, rows, repeated=repeated)
        self.shapes.add(page.records)
        self.pages += 1
        self.digests.add(rows.digest)
        if self._batch.is_due:
            self._commit()

    def _commit(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.commit(self.key, self.shapes)


class _Batch:
    """Pages on their way in one COPY; the slice row is advanced after them, in the same transaction."""

    def __init__(self, conn: Connection, copy_rows: sql.Composed, *, first_page: int) -> None:
        self._conn = conn
        self._began = time.monotonic()
        self._transaction, self._copying = ExitStack(), ExitStack()
        self._transaction.enter_context(conn.transaction())
        cursor = self._copying.enter_context(conn.cursor())
        self._copy = self._copying.enter_context(cursor.copy(copy_rows))
        self._step = Step(pages=first_page, count=0, records=0, position=None, total=None, repeated_page=False)

    @property
    def is_due(self) -> bool:
        return self._step.count >= BATCH_PAGES or time.monotonic() - self._began >= BATCH_SECONDS

    def add(self, page: Page, rows: PageRows, *, repeated: bool) -> None:
        if rows.records:
            self._copy.write(rows.text)
        before = self._step
        self._step = replace(
            before,
            count=before.count + 1,
            records=before.records + rows.records,
            position=None if page.next_position is None else dict(page.next_position),
            total=before.total if page.total is None else page.total,
            repeated_page=before.repeated_page or repeated,
        )

    def commit(self, key: SliceKey, shapes: Shapes) -> None:
        with self._transaction:
            self._copying.close()
            slices.advance(self._conn, key, self._step)
            slices.add_fields(self._conn, key, shapes)

    def abort(self, error: psycopg.Error) -> None:
        """The database has refused a page: the whole batch goes, and the error stays the one that is told."""
        with suppress(psycopg.Error), self._transaction, self._copying:
            raise error
