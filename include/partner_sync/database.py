"""Connections to the sync database, and the one place where psycopg's errors are translated.

The core takes ready connections: Airflow's hook, the tests and the stack each open theirs as one *writer*
(design, 4). Nothing here knows a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError

Connection = psycopg.Connection[DictRow]

#: SQLSTATE classes that pass by themselves: connection, shutdown, resources, serialization (PostgreSQL, Appendix A).
_PASSING = ("08", "57P", "53", "40")


def connect(url: str, **options: Any) -> Connection:
    """Open an autocommit connection whose rows are dicts; transactions are explicit (``conn.transaction()``)."""
    with translated_errors():
        return psycopg.connect(url, autocommit=True, row_factory=dict_row, **options)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg's errors into ours and cut the chain: their texts carry row values (design, rule 15)."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from None


def translate(error: psycopg.Error) -> DatabaseAwayError | DatabaseRefusedError:
    """The error of ours that says the same without any value of a row."""
    state = error.sqlstate or ("08000" if isinstance(error, psycopg.OperationalError) else "unknown")
    if state.startswith(_PASSING):
        return DatabaseAwayError(sqlstate=state)
    facts = error.diag
    return DatabaseRefusedError(sqlstate=state, table=facts.table_name or "", constraint=facts.constraint_name or "")
