"""Connections to the sync database, one login a writer (design, 4)."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from airflow.sdk import BaseHook, Connection

from partner_sync import database
from partner_sync.errors import ConfigError
from partner_sync_airflow.hooks.lookup import read_connection

#: What a connection's extra may say: libpq's names for the way to the server; nothing else is passed on.
_EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "connect_timeout")
_CONNECT_TIMEOUT_SECONDS = 10


class SyncDatabaseHook(BaseHook):
    """Opens the sync database as one writer, by the Airflow connection ``sync_<writer>``.

    :param writer: extract, validate, merge, release, push, run or reader.
    """

    conn_type = "postgres"
    hook_name = "Partner sync database"

    def __init__(self, writer: str) -> None:
        super().__init__()
        self.connection_id = f"sync_{writer}"

    def get_conn(self) -> database.Connection:
        """An open connection, autocommit, rows as dicts; the caller closes it.

        Raises ConfigError without the Airflow connection, DatabaseAwayError and DatabaseRefusedError.
        """
        return database.connect(self.url())

    def url(self) -> str:
        """Libpq's URL with the password: for those who open the database by themselves. Never log it."""
        connection = read_connection(self.connection_id)
        if not connection.host or not connection.login:
            raise ConfigError(problem=f"The Airflow connection {self.connection_id} needs a host and a login.")
        return url_of(connection)


def url_of(connection: Connection) -> str:
    """Libpq's URL for an Airflow connection, with the password: never log it."""
    person = f"{quote(connection.login or '', safe='')}:{quote(connection.password or '', safe='')}"
    host, port, extra = connection.host or "", connection.port or 5432, connection.extra_dejson
    options = {name: str(extra[name]) for name in _EXTRAS if extra.get(name)}
    options.setdefault("connect_timeout", str(_CONNECT_TIMEOUT_SECONDS))
    if host.startswith("/"):
        place, options = "", {"host": host, "port": str(port)} | options
    else:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"postgresql://{person}@{place}/{quote(connection.schema or '', safe='')}?{urlencode(options)}"
