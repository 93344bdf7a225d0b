"""Where the page of a run is, as a whole address, for alerts."""

from __future__ import annotations

from urllib.parse import urljoin

from airflow.sdk.configuration import conf
from airflow.sdk.definitions.context import Context

from partner_sync_airflow.pages.addresses import run_address

#: Runs of this kind of DAG have a page.
_KIND = "master_sync"


def report_url(context: Context) -> str | None:
    """The page of the run that a task belongs to.

    None for other DAGs than ``<partner>__master_sync``, and where Airflow was not told its own address (api.base_url).
    """
    ti = context["ti"]
    base: str | None = conf.get("api", "base_url", fallback=None)
    if not ti.dag_id.endswith(f"__{_KIND}") or not base:
        return None
    return urljoin(base, run_address(ti.dag_id, ti.run_id))
