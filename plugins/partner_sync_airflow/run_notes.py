"""The note of a DAG run: what people read first. Written through Airflow's public API: tasks have no other door.

A note that cannot be written is logged and fails nothing: what it says is in the database and in the log as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk.definitions.context import Context

from partner_sync.catalogue import sentence
from partner_sync.errors import ConfigError
from partner_sync_airflow.hooks.lookup import find_connection

if TYPE_CHECKING:
    import httpx

CONNECTION_ID = "partner_sync_api"
#: Airflow refuses longer notes.
LONGEST_NOTE = 1000
_TIMEOUT_SECONDS = 10.0

_log = logging.getLogger(__name__)


def write_note(context: Context, text: str, *, of: tuple[str, str] | None = None) -> bool:
    """Set the run's note, cut to what Airflow takes; returns whether it was written, and logs why not.

    ``of``: DAG id and run id of another run.
    """
    import httpx

    connection = find_connection(CONNECTION_ID)
    if connection is None or not connection.host:
        _log.warning("The run's note was not written: there is no Airflow connection %s with a host.", CONNECTION_ID)
        return False
    login = {"username": connection.login, "password": connection.password}
    dag_id, run_id = of or (context["dag"].dag_id, context["run_id"])
    run = f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"
    try:
        # The environment may name a proxy, which would not know this network.
        with httpx.Client(base_url=connection.host, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            answer = _patch_note(client, login, run=run, text=shortened(text))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        _log.warning("The run's note was not written: Airflow's API gave %s.", type(error).__name__)
        return False
    if not answer.is_success:
        _log.warning("The run's note was not written: Airflow's API answered %s.", answer.status_code)
    return answer.is_success


@contextmanager
def refusals_noted(context: Context) -> Iterator[None]:
    """What a person filled in wrongly is told where they look first: in the run's note."""
    try:
        yield
    except ConfigError as error:
        named = {name: str(error.facts[name]) for name in ("partner", "organization") if error.facts.get(name)}
        write_note(context, f"{sentence(error.code, 'ja', **named)}\n{error}")
        raise


def shortened(text: str, *, longest: int = LONGEST_NOTE) -> str:
    """The text, cut at a line where possible, with a sign that there is more in the log."""
    if len(text) <= longest:
        return text
    more = "\n... (log / ログ参照)"
    cut = text[: longest - len(more)]
    return (cut.rpartition("\n")[0] or cut) + more


def _patch_note(client: httpx.Client, login: dict[str, str | None], *, run: str, text: str) -> httpx.Response:
    token = client.post("/auth/token", json=login)
    if not token.is_success:
        return token
    headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
    return client.patch(f"/api/v2/{run}", params={"update_mask": "note"}, json={"note": text}, headers=headers)


def _part(text: str) -> str:
    return quote(text, safe="")
