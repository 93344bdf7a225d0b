"""What every DAG and task of a partner has in common: tags, owner, alert, retries, schedule's zone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from airflow.sdk import CronTriggerTimetable

from partner_sync.partners.model import Partner
from partner_sync_airflow.notifications import PartnerSyncNotifier
from partner_sync_airflow.retry_policy import FIRST_DELAY_SECONDS, RETRIES, PartnerSyncRetryPolicy

Kind = Literal["master_sync", "schedule_push", "approve_push", "live_push", "reconcile"]

TAGS: dict[Kind, str] = {
    "master_sync": "master",
    "schedule_push": "schedule",
    "approve_push": "schedule",
    "live_push": "schedule",
    "reconcile": "schedule",
}
ZONE = "Asia/Tokyo"


def cron(text: str | None) -> CronTriggerTimetable | None:
    """A partner file's schedule, or none."""
    return tokyo_cron(text) if text else None


def tokyo_cron(text: str) -> CronTriggerTimetable:
    """A cron text in Asia/Tokyo; a run stands for the moment at which it starts.

    No DAG has a start date: a run before one would end in an instant success without any task. And a DAG that is
    switched on waits for its next moment instead of running for the last one: a week must not leave unasked.
    """
    return CronTriggerTimetable(text, timezone=ZONE, run_immediately=timedelta())


def dag_arguments(partner: Partner, kind: Kind, *, does: str) -> dict[str, Any]:
    """The arguments of a DAG; ``does`` says in one line of Japanese and English what it does."""
    return {
        "dag_id": f"{partner.slug}__{kind}",
        "description": f"{partner.name.ja} / {partner.name.en}: {does}",
        "tags": [partner.slug, TAGS[kind], kind],
        "catchup": False,
        "default_args": task_arguments(
            partner.slug,
            owner=partner.owner.team,
            alert=partner.owner.alert,
            names=(partner.name.ja, partner.name.en),
        ),
    }


def task_arguments(slug: str, *, owner: str, alert: str | None, names: tuple[str, str] | None = None) -> dict[str, Any]:
    """The default arguments of every task: whose it is, what is tried again, who hears of a failure."""
    return {
        "owner": owner,
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=FIRST_DELAY_SECONDS),
        "retry_policy": PartnerSyncRetryPolicy(),
        "on_failure_callback": PartnerSyncNotifier(partner=slug, alert=alert, names=names),
    }
