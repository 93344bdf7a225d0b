"""What Airflow has to know of this project beside its DAGs: the schedules that it reads DAGs with, and the pages."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from partner_sync_airflow.pages.addresses import PREFIX, base_path
from partner_sync_airflow.timetables import ByHand, PartnerCron, WeeklyCron

_PAGES = f"{base_path()}{PREFIX}"


class PartnerSyncPlugin(AirflowPlugin):
    """Registers the timetables (without them no process of Airflow could read our DAGs back) and the quality report.

    Every process of Airflow reads this file; only the API server asks for the pages, which are imported then.
    """

    name = "partner_sync"
    timetables = [ByHand, PartnerCron, WeeklyCron]  # noqa: RUF012 - as Airflow declares it
    # The navigation has room for a short name.
    external_views = [  # noqa: RUF012
        {"name": "品質 / Quality", "href": f"{_PAGES}/", "destination": "nav", "url_route": "quality"},
        {
            "name": "データ品質 / Data quality",
            "href": f"{_PAGES}/of-dag?dag={{DAG_ID}}",
            "destination": "dag",
            "url_route": "quality-of-dag",
        },
        {
            "name": "データ品質 / Data quality",
            "href": f"{_PAGES}/of-run?dag={{DAG_ID}}&run={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "quality-of-run",
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow reads it off an instance
        from partner_sync_airflow.pages.app import make_app

        return [{"app": make_app(), "url_prefix": PREFIX, "name": "Data quality"}]

    @cached_property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        from partner_sync_airflow.pages.airflow_links import QualityLink

        return [QualityLink()]
