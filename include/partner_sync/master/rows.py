"""From a partner's record to one line of COPY text for staging: typed columns beside the record as it came.

The lines are put together here and not by psycopg's ``write_row``, which takes about twice as long; a page of
500 rows is one write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from partner_sync.master.slices import SliceKey
from partner_sync.partners.mapping import FieldProblem, MappedRecord, RecordMapper

#: Must agree with the options of extract.copy_rows.
DELIMITER = "\x1f"
MAX_RAW_BYTES = 1_000_000
_FIXED_COLUMNS = (
    "partner",
    "organization",
    "run_key",
    "page",
    "source_key",
    "source_updated_at",
    "deleted",
    "problems",
    "critical_problem",
)
_NUL = b"\\u0000"
_NEEDS_ESCAPE = re.compile(r"[\\\n\r\x1f]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", DELIMITER: "\\" + DELIMITER}


class PageRows(NamedTuple):
    """A page ready for COPY; ``digest`` is of its keys in their order (the same as extract.page_digests)."""

    text: bytes
    records: int
    digest: str


def copy_columns(mapper: RecordMapper) -> tuple[str, ...]:
    """The columns of the lines that ``rows_of`` makes, in their order."""
    return (*_FIXED_COLUMNS, *mapper.columns, "extra", "raw")


def rows_of(records: Iterable[object], *, mapper: RecordMapper, key: SliceKey, page: int) -> PageRows:
    """Map the records of a page; never raises for what a record holds."""
    prefix = DELIMITER.join([*map(_cell, (key.partner, key.organization, key.run_key, page)), ""]).encode()
    parts: list[bytes] = []
    keys: list[str] = []
    for record in records:
        mapped, raw = _mapped(record, mapper)
        # JSON has no bare control character, so that only its backslashes need doubling.
        parts += (prefix, _cells(mapped).encode(), raw.replace(b"\\", b"\\\\"), b"\n")
        keys.append(mapped.key or "")
    digest = hashlib.md5(DELIMITER.join(keys).encode(), usedforsecurity=False).hexdigest()
    return PageRows(b"".join(parts), len(keys), digest)


def _mapped(record: object, mapper: RecordMapper) -> tuple[MappedRecord, bytes]:
    raw = _encoded(record)
    if _NUL in raw and (cleaned := _without_nul(record)) != record:
        mapped = mapper.map(cleaned)
        problem = FieldProblem("record", "nul_character", critical=True)
        return mapped._replace(problems=(problem, *mapped.problems)), _kept(_encoded(cleaned))
    return mapper.map(record), _kept(raw)


def _encoded(record: object) -> bytes:
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError:
        # A whole number beyond 64 bits, or nesting beyond what orjson takes; the typed columns stand on their own.
        return b'{"left_out":"not_storable"}'


def _kept(raw: bytes) -> bytes:
    if len(raw) <= MAX_RAW_BYTES:
        return raw
    marker = {"left_out": "too_large", "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    return orjson.dumps(marker)


def _without_nul(value: Any) -> Any:
    """The same JSON value with the replacement character for each NUL, which neither text nor jsonb can hold."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(each) for name, each in value.items()}
    return value


def _cells(mapped: MappedRecord) -> str:
    """The cells of a line, but for the raw record that follows them."""
    key, values, extra, source_updated_at, deleted, problems = mapped
    cells = (
        key,
        source_updated_at.isoformat() if source_updated_at else None,
        "t" if deleted else "f",
        _problems_json(problems) if problems else None,
        _critical(problems) if problems else None,
        *values,
        orjson.dumps(extra).decode() if extra else "{}",
        "",
    )
    # None and the empty text are one: the mapper makes no empty text (docs of its converters).
    text = DELIMITER.join([c if c.__class__ is str else "" if c is None else str(c) for c in cells])
    if "\\" in text or "\n" in text or "\r" in text or text.count(DELIMITER) >= len(cells):
        text = DELIMITER.join(map(_cell, cells))
    return text


def _cell(value: object) -> str:
    if value is None:
        return ""
    return _NEEDS_ESCAPE.sub(lambda found: _ESCAPES[found[0]], str(value))


def _problems_json(problems: Sequence[FieldProblem]) -> str:
    return orjson.dumps([problem.as_json() for problem in problems]).decode()


def _critical(problems: Sequence[FieldProblem]) -> str | None:
    return next((f"{problem.field}:{problem.code}" for problem in problems if problem.critical), None)
