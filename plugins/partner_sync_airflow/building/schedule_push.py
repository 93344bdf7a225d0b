"""``<partner>__schedule_push``: release -> push (a few shards) -> conclude."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, dag_arguments
from partner_sync_airflow.forms import push_params
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.delivery import PushOperator, ReleaseOperator

#: Planners of several organizations push at the same time, and each waits for the limits.
_RUNS_AT_A_TIME = 8

_DOC = """\
確定済み(FIX)の週の予定を連携先へ送ります。 / Sends the visits of a finalized week to the partner.

**Which week** (`release` says it in the log and in the run's note)

| run | week |
| --- | --- |
| by hand, or by another DAG | the week of the day in the form; without a day the run is refused |
| by its schedule | the week after the moment of the schedule: Friday's run sends the coming week |
| backfill | the week after each logical date, as that day's schedule would have; a day in the form is refused |

A run by schedule or backfill is for the organizations whose link says `release: weekly`, by hand for all.
Offices that have not finalized the week are listed and skipped; when none has, the run is refused.
"""


def build_schedule_push(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner that takes no schedules."""
    if partner.push is None:
        return None
    slug = partner.slug
    with DAG(
        **dag_arguments(partner, "schedule_push", does="予定の送信 / schedules out"),
        schedule=cron(partner.push.schedule),
        max_active_runs=_RUNS_AT_A_TIME,
        params=push_params(),
        doc_md=_DOC,
    ) as dag:
        release = ReleaseOperator(task_id="release", partner=slug)
        push = PushOperator.partial(task_id="push", partner=slug, pool=slug).expand(shard=release.output)
        push >> ConcludeOperator(task_id="conclude", partner=slug)
    return dag
