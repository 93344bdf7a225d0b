"""How an organization reaches a partner: the Airflow connection that its link names."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from partner_sync.errors import ConfigError
from partner_sync.kinds.interface import Access
from partner_sync.links import Link
from partner_sync_airflow.hooks.lookup import read_connection


class PartnerHook(BaseHook):
    """One link's access: base URL (the connection's host, with its scheme), login and secret.

    Reading a connection costs about 10 ms: only for organizations with work, once a run.
    """

    conn_type = "http"
    hook_name = "Partner"

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def get_conn(self) -> Access:
        """The access; raises ConfigError when the connection is missing or names no address."""
        connection = read_connection(self._link.connection_id)
        host = connection.host or ""
        address = host if "://" in host else f"{connection.schema or 'https'}://{host}"
        base_url = f"{address}:{connection.port}" if connection.port else address
        if not urlsplit(base_url).hostname:
            raise ConfigError(
                problem=f"The Airflow connection {self._link.connection_id} needs the base URL of {self._link.partner} "
                "as its host."
            )
        return Access(base_url=base_url.rstrip("/"), login=connection.login, secret=connection.password)
