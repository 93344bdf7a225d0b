"""Named SQL statements, read once from the files under ``sql/``.

A file ``sql/delivery.sql`` holds statements that begin with ``-- name: claim_items``; a comment line below
says what the statement is for. ``statement("delivery.claim_items")`` returns its text.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

from partner_sync.errors import UnknownStatementError

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql"
_HEADER = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


def statement(name: str) -> LiteralString:
    """Return the statement ``<file>.<name>``; raises UnknownStatementError when there is none."""
    file, _, key = name.partition(".")
    try:
        return statements_of(file)[key]
    except KeyError:
        raise UnknownStatementError(name=name) from None


@cache
def statements_of(file: str) -> dict[str, LiteralString]:
    """All statements of ``sql/<file>.sql`` by name."""
    path = SQL_FOLDER / f"{file}.sql"
    if not path.is_file():
        return {}
    parts = _HEADER.split(path.read_text(encoding="utf-8"))
    # The cast is the one door through which text becomes a query: it comes from a committed file only.
    return {key: cast("LiteralString", text.strip()) for key, text in zip(parts[1::2], parts[2::2], strict=True)}
