"""Airflow's connections of our own: one a writer of the database, one to Airflow's own API for run notes."""

from __future__ import annotations

import json

from stack.address import Address
from stack.airflow_api import AirflowApi, AirflowConnection
from stack.logins import DATABASE, WRITERS
from stack.secret_store import SecretStore
from stack.settings import SERVICE_LOGIN, password_of

API_CONNECTION = "partner_sync_api"


def put_own_connections(api: AirflowApi, *, address: Address, secret_store: SecretStore, base_url: str) -> None:
    """Make or renew them; the run-time passwords are in the home's secrets and in Airflow, nowhere else."""
    for writer in WRITERS:
        api.put_connection(writer_connection(writer, address, password=secret_store.get(writer)))
    api.put_connection(
        AirflowConnection(
            connection_id=API_CONNECTION,
            conn_type="http",
            host=base_url,
            login=SERVICE_LOGIN,
            password=password_of(secret_store, SERVICE_LOGIN),
        )
    )


def writer_connection(writer: str, address: Address, *, password: str) -> AirflowConnection:
    return AirflowConnection(
        connection_id=writer,
        conn_type="postgres",
        host=address.host,
        port=address.port,
        schema=DATABASE,
        login=writer,
        password=password,
        extra=json.dumps(address.options) if address.options else None,
    )
