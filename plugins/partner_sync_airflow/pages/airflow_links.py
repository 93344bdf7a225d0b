"""Where Airflow's own pages lead to the report."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import BaseOperatorLink

from partner_sync_airflow.operators.validation import ValidateOperator
from partner_sync_airflow.pages.addresses import run_address


class QualityLink(BaseOperatorLink):
    """From a validation to its page.

    Registered by the plugin only: the API server then computes it from the task's key. As an attribute of the operator
    it would be an XCom of a task that has ended, and missing on one that was killed.
    """

    name = "データ品質 / Data quality"
    operators: ClassVar[list[type[Any]]] = [ValidateOperator]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_address(ti_key.dag_id, ti_key.run_id)
