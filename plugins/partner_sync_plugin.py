"""What Airflow has to know of this project beside its DAGs: the schedules of ours that its servers read DAGs with."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from partner_sync_airflow.timetables import ByHand, PartnerCron, WeeklyCron


class PartnerSyncPlugin(AirflowPlugin):
    """Registers the timetables; without it no process of Airflow could read our DAGs back."""

    name = "partner_sync"
    timetables = [ByHand, PartnerCron, WeeklyCron]  # noqa: RUF012 - as Airflow declares it
