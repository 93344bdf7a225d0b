"""Reading an Airflow connection; what is wrong with it is an error that names the connection, never its values."""

from __future__ import annotations

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from partner_sync.errors import ConfigError


def find_connection(connection_id: str) -> Connection | None:
    """The connection, or None when there is none. Costs about 10 ms (a call of Airflow's API)."""
    try:
        found: Connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
    return found


def read_connection(connection_id: str) -> Connection:
    """The connection; raises ConfigError when there is none."""
    found = find_connection(connection_id)
    if found is None:
        raise ConfigError(problem=f"There is no Airflow connection {connection_id}. Make it with `make link`.")
    return found
