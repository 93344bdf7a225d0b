"""The sync database for the API server's process, by the Airflow connection ``sync_page``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from airflow.models import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from partner_sync import database
from partner_sync.errors import ConfigError
from partner_sync_airflow.hooks.database import url_of

CONNECTION_ID = "sync_page"


def open_database() -> database.Connection:
    """An autocommit connection; the caller closes it.

    The API server reads Airflow's connections from the metadata by itself: tasks' way, by the execution API, is not
    open to it. Raises ConfigError without the connection, DatabaseAwayError and DatabaseRefusedError.
    """
    try:
        found = AirflowConnection.get_connection_from_secrets(CONNECTION_ID)  # noqa: AIR311 - a server's own way
    except AirflowNotFoundException:
        raise ConfigError(problem=f"There is no Airflow connection {CONNECTION_ID}. `make up` makes it.") from None
    return database.connect(url_of(found))


@contextmanager
def opened() -> Iterator[database.Connection]:
    """The same, closed at the end."""
    with closing(open_database()) as conn:
        yield conn
