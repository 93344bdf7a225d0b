"""Where the pages lie, for those who lead to them. Light: every process of Airflow reads this."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow.configuration import conf

from partner_sync_airflow.dag_runs import bounded_id

PREFIX = "/quality"


def base_path() -> str:
    """What stands before every address of this Airflow, without a slash at its end."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def run_address(dag_id: str, run_id: str) -> str:
    """The page of a DAG run; the run's key in the database is made as operators.base.run_key makes it."""
    partner = dag_id.partition("__")[0]
    key = bounded_id(f"{dag_id}/{run_id}")
    return f"{base_path()}{PREFIX}/runs/{quote(partner, safe='')}/{quote(key, safe='/')}"
