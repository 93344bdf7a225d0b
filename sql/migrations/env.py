"""Alembic's entry: as partner_sync_owner, with the version table in a schema of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.engine import Connection

from stack.logins import OWNER
from stack.migrations import VERSION_SCHEMA


def note(*_: Any, **facts: Any) -> None:
    """Keep the name of each migration that was run, for the person who waits. Alembic calls it with keywords."""
    context.config.attributes["run"].append(Path(facts["step"].up_revision.path).stem)


def run(connection: Connection) -> None:
    connection.execute(text(f"SET ROLE {OWNER}"))
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
    connection.commit()
    context.configure(
        connection=connection,
        version_table_schema=VERSION_SCHEMA,
        transaction_per_migration=True,
        on_version_apply=note,
    )
    with context.begin_transaction():
        context.run_migrations()


url: str = context.config.attributes["url"]
engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=pool.NullPool)
with engine.connect() as opened:
    run(opened)
