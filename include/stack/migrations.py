"""Schema changes: Alembic runs ``sql/migrations/NNNN_topic.sql``, each as one script in its own transaction.

A migration is one .sql file and, in ``versions/``, a module of the same stem whose ``upgrade`` calls
``run_sql_file(__file__)``. They only go forward: what is wrong is corrected by the next one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg

from partner_sync.errors import ConfigError
from stack.home import CLONE

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = CLONE / "sql" / "migrations"
VERSION_SCHEMA = "sync_migrations"
#: Any constant number: two set-ups at one time must not migrate the same database.
_LOCK = 7_204_117


def migrate(url: str) -> list[str]:
    """Bring the database to the newest version; returns the names of the migrations that were run.

    ``url`` is the admin's: the statements run as partner_sync_owner (``SET ROLE``).
    """
    from alembic import command

    run: list[str] = []
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        configuration = config()
        configuration.attributes.update(url=url, run=run)
        command.upgrade(configuration, "head")
    return run


def config() -> Config:
    """Alembic's configuration, without an ini file: the URL comes by attribute and lands in no file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    return made


def run_sql_file(version_file: str) -> None:
    """Run the .sql file with the stem of the version module as one script (values and % signs are not bound)."""
    from alembic import op

    script = FOLDER / f"{Path(version_file).stem}.sql"
    # The simple protocol takes several statements at once, so that dollar-quoted bodies need no splitting.
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise ConfigError(problem=f"{script.name} needs an open connection")
    connection.execute(script.read_text(encoding="utf-8"))


def refuse_downgrade() -> NoReturn:
    """Raise ConfigError: an older schema is restored from a backup, never by running backwards."""
    raise ConfigError(problem="Migrations only go forward: write the next one, or restore a backup.")
