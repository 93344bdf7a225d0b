"""Where the pages of the report are, for alerts and links: below Airflow's own address."""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk.configuration import conf
from airflow.sdk.definitions.context import Context

#: Runs of this kind of DAG have a page.
_KIND = "master_sync"


def report_url(context: Context) -> str | None:
    """The page of the run that a task belongs to.

    None for other DAGs than ``<partner>__master_sync``, and where Airflow was not told its own address (api.base_url).
    """
    from partner_sync_airflow.operators.base import run_key

    partner, _, kind = context["ti"].dag_id.partition("__")
    base: str | None = conf.get("api", "base_url", fallback=None)
    if kind != _KIND or not base:
        return None
    return f"{base.rstrip('/')}/quality/runs/{partner}/{quote(run_key(context), safe='')}"
