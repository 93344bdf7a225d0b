"""What every DAG and task of a partner has in common: tags, owner, alert, retries, schedule's zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Literal

from airflow.sdk import DAG, Param

from partner_sync.partners.model import Partner
from partner_sync_airflow.notifications import PartnerSyncNotifier
from partner_sync_airflow.retry_policy import FIRST_DELAY_SECONDS, RETRIES, PartnerSyncRetryPolicy
from partner_sync_airflow.timetables import ByHand, PartnerCron, WeeklyCron

Kind = Literal["master_sync", "approve_merge", "schedule_push", "approve_push", "live_push", "reconcile"]

TAGS: dict[Kind, str] = {
    "master_sync": "master",
    "approve_merge": "master",
    "schedule_push": "schedule",
    "approve_push": "schedule",
    "live_push": "schedule",
    "reconcile": "schedule",
}
#: A question stays a running run until it is answered, and no question waits behind another.
_QUESTIONS_AT_A_TIME = 1000
#: Only pushes have something to do for days gone by.
_NO_BACKFILL = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")


@cache
def cron(text: str | None, *, weekly: bool = False) -> PartnerCron | ByHand:
    """A partner file's schedule, in Asia/Tokyo; ``weekly``: that of pushes, whose backfill is over weeks.

    No DAG has a start date: a run before one would end in an instant success without any task. Kept, because Airflow
    puts each into words when it is made, which takes 2 ms, and most partners have the same few.
    """
    if not text:
        return ByHand()
    return WeeklyCron(text) if weekly else PartnerCron(text)


def dag_arguments(partner: Partner, kind: Kind, *, does: str) -> dict[str, Any]:
    """The arguments of a DAG; ``does`` says in one line of Japanese and English what it does."""
    return {
        "dag_id": f"{partner.slug}__{kind}",
        "description": f"{partner.name.ja} / {partner.name.en}: {does}",
        "tags": [partner.slug, TAGS[kind], kind],
        "catchup": False,
        "allowed_run_types": None if kind == "schedule_push" else _NO_BACKFILL,
        "default_args": task_arguments(
            partner.slug,
            owner=partner.owner.team,
            alert=partner.owner.alert,
            names=(partner.name.ja, partner.name.en),
        ),
    }


def question_arguments(partner: Partner, kind: Kind, *, does: str, doc: str) -> dict[str, Any]:
    """The arguments of a DAG of which each run is a question to a person; ``doc`` may name the partner."""
    return dag_arguments(partner, kind, does=does) | {
        # A question that nobody can see would be a no: such a DAG is on from the first.
        "is_paused_upon_creation": False,
        "max_active_runs": _QUESTIONS_AT_A_TIME,
        "doc_md": doc.replace("{partner}", partner.slug),
    }


def with_form(dag: DAG, form: Mapping[str, Param]) -> DAG:
    """Give a DAG its form when all its tasks are there; a run's tasks read it from the DAG (decision 0023).

    As an argument of the DAG it would be checked for each partner anew and copied deeply into each task, which takes
    as long as everything else.
    """
    dag.params.update(form)
    return dag


def task_arguments(slug: str, *, owner: str, alert: str | None, names: tuple[str, str] | None = None) -> dict[str, Any]:
    """The default arguments of every task: whose it is, what is tried again, who hears of a failure."""
    return {
        "owner": owner,
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=FIRST_DELAY_SECONDS),
        "retry_policy": PartnerSyncRetryPolicy(),
        "on_failure_callback": PartnerSyncNotifier(partner=slug, alert=alert, names=names),
    }
