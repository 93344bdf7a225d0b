"""Reading an Airflow connection; what is wrong with it is an error that names the connection, never its values."""

from __future__ import annotations

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from partner_sync.errors import ConfigError, DatabaseAwayError

#: Set-up always makes this one.
_ALWAYS_THERE = "sync_run"


class ConnectionsUnreadableError(DatabaseAwayError):
    """Airflow does not hand out connections now: it is away, or was never set up."""

    template = (
        "The Airflow connection {connection_id} cannot be read: Airflow's API is away, or `make up` has never made it."
    )


def find_connection(connection_id: str) -> Connection | None:
    """The connection, or None when there is none. Costs about 10 ms (a call of Airflow's API)."""
    try:
        found: Connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
    return found


def read_connection(connection_id: str) -> Connection:
    """The connection; raises ConfigError when there is none, ConnectionsUnreadableError when none can be read.

    Airflow says 'not found' also when its API does not answer: only a connection that must be there tells which.
    """
    found = find_connection(connection_id)
    if found is not None:
        return found
    if connection_id.startswith("sync_") or find_connection(_ALWAYS_THERE) is None:
        raise ConnectionsUnreadableError(connection_id=connection_id)
    raise ConfigError(problem=f"There is no Airflow connection {connection_id}. Make it with `make link`.")


async def read_connection_in_triggerer(connection_id: str) -> Connection:
    """As ``read_connection``, for the triggerer's event loop, of a connection that set-up makes.

    Raises ConnectionsUnreadableError.
    """
    try:
        found: Connection = await Connection.async_get(connection_id)
    except AirflowNotFoundException:
        raise ConnectionsUnreadableError(connection_id=connection_id) from None
    return found
