"""Where Airflow's own pages lead to the report."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from partner_sync_airflow.dag_runs import bounded_id
from partner_sync_airflow.operators.master import ValidateOperator

PREFIX = "/quality"


def base_path() -> str:
    """What stands before every address of this Airflow, without a slash at its end."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def run_address(dag_id: str, run_id: str) -> str:
    """The page of a DAG run; run_id and the run's key in the database as operators.base.run_key makes them."""
    partner = dag_id.partition("__")[0]
    return f"{base_path()}{PREFIX}/runs/{quote(partner, safe='')}/{quote(bounded_id(f'{dag_id}/{run_id}'), safe='/')}"


class QualityLink(BaseOperatorLink):
    """From a validation to its page.

    Registered by the plugin only: the API server then computes it from the task's key. As an attribute of the operator
    it would be an XCom of a task that has ended, and missing on one that was killed.
    """

    name = "データ品質 / Data quality"
    operators: ClassVar[list[type[Any]]] = [ValidateOperator]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_address(ti_key.dag_id, ti_key.run_id)
