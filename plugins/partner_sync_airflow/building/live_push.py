"""``<partner>__live_push``: each minute one task that sends what fits now and ends."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule
from airflow.timetables.base import Timetable

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, dag_arguments
from partner_sync_airflow.operators.delivery import LivePushOperator
from partner_sync_airflow.watching import work_of

_DOC = """\
連携済みの週の、その後の変更を毎分送ります。 / Sends later changes of released weeks, each minute.

One task takes what the limits allow now and ends; it never waits and is never tried again: the next minute goes on.
With `push.watch` in the partner file a change, a finalized week or a release also starts a run by itself.
The run is red only when a new cause of trouble appears, not while a known one lasts.
"""
#: A tick that hangs would block all later ones (one run at a time).
_LONGEST = timedelta(minutes=15)


def _schedule(slug: str, *, watched: bool) -> Timetable | AssetOrTimeSchedule:
    """Each minute; where the partner file says ``watch``, also as soon as there is work."""
    tick = cron("* * * * *")
    # Airflow takes a registered timetable here as well, only its annotation does not say so.
    return AssetOrTimeSchedule(timetable=tick, assets=work_of(slug)) if watched else tick  # type: ignore[arg-type]


def build_live_push(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner without live changes."""
    if partner.push is None or not partner.push.live:
        return None
    with DAG(
        **dag_arguments(partner, "live_push", does="変更の随時送信 / later changes out"),
        schedule=_schedule(partner.slug, watched=partner.push.watch),
        max_active_runs=1,
        doc_md=_DOC,
    ) as dag:
        LivePushOperator(task_id="push", partner=partner.slug, pool=partner.slug, retries=0, execution_timeout=_LONGEST)
    return dag
