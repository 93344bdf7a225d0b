"""``<partner>__schedule_push``: plan -> release -> push (a few shards) -> conclude; an unusual one plan -> ask."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, dag_arguments, with_form
from partner_sync_airflow.forms import push_params
from partner_sync_airflow.operators.approval import AskOperator
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.delivery import PlanOperator, PushOperator, ReleaseOperator

#: Planners of several organizations push at the same time, and each waits for the limits.
_RUNS_AT_A_TIME = 8

_DOC = """\
確定済み(FIX)の週の予定を連携先へ送ります。 / Sends the visits of a finalized week to the partner.

**Which week** (`plan` says it in the log and in the run's note)

| run | week |
| --- | --- |
| by hand, or by another DAG | the week of the day in the form; without a day the run is refused |
| by its schedule | the week after the moment of the schedule: Friday's run sends the coming week |
| backfill | each week that has a day in its range, up to the present one; a day in the form is refused |

A run by schedule or backfill is for the organizations whose link says `release: weekly`, by hand for all.
Offices that have not finalized the week are listed and skipped; when none has, the run is refused.

**Approval** An unusual push (more than `push.approve_over_calls` calls, or a resend of a past week) sends nothing at
first: `ask` starts a run of `{partner}__approve_push`, and after a yes there the push starts again by itself.
"""


def build_schedule_push(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner that takes no schedules."""
    if partner.push is None:
        return None
    slug = partner.slug
    with DAG(
        **dag_arguments(partner, "schedule_push", does="予定の送信 / schedules out"),
        schedule=cron(partner.push.schedule, weekly=True),
        max_active_runs=_RUNS_AT_A_TIME,
        doc_md=_DOC.replace("{partner}", slug),
    ) as dag:
        plan = PlanOperator(task_id="plan", partner=slug)
        release = ReleaseOperator(task_id="release", partner=slug)
        push = PushOperator.partial(task_id="push", partner=slug, pool=slug).expand(shard=release.output)
        plan >> [release, AskOperator(task_id="ask", partner=slug)]
        push >> ConcludeOperator(task_id="conclude", partner=slug)
    return with_form(dag, push_params())
