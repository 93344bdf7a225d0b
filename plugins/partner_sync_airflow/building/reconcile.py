"""``<partner>__reconcile``: resolve -> compare -> repair -> push -> compare_again -> conclude."""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, dag_arguments, with_form
from partner_sync_airflow.forms_of_repair import reconcile_params
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.reconcile import (
    CompareOperator,
    PushRepairsOperator,
    RepairOperator,
    ResolveReconcileOperator,
)

#: A comparison goes behind every push: more at a time would only wait for each other.
_RUNS_AT_A_TIME = 2
#: A shard that failed must not hold back the repair of the others.
_AFTER_SHARDS = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS

_DOC = """\
連携先に実際に入っている一週間の予定を、スケジュールと照合します。修復もできます。
/ Compares a week with what the partner really holds, and can repair it.

1. `resolve` says which week (any day of it in the form) and finds the organizations.
2. `compare` asks the partner: what is missing there, extra there, or different. What is on its way, blocked or refused
   is *not settled yet*, and no difference; what was entered there by hand is counted and never touched.
3. `repair` (only when the form says so) asks for the differences anew; `push` sends them as every push does.
4. `compare_again` says what is left.
5. `conclude` turns the run red when something differs, and writes the run's note.

{sees}
"""
_SEES_A_LIST = "This partner lists the visits of a week. / この連携先は週の予定を一覧で返します。"
_SEES_EACH = (
    "This partner has no list of a week: each visit is asked for by itself, and what is extra there cannot be seen. "
    "/ この連携先には週の一覧がないため、予定を1件ずつ確認します。連携先に余分にある予定は分かりません。"
)


def build_reconcile(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner that cannot show what it holds."""
    push = partner.push
    if push is None or not push.shows_visits:
        return None
    slug = partner.slug
    with DAG(
        **dag_arguments(partner, "reconcile", does="予定の照合 / comparison of a week"),
        schedule=cron(None),
        # Without a schedule nothing starts by itself.
        is_paused_upon_creation=False,
        max_active_runs=_RUNS_AT_A_TIME,
        doc_md=_DOC.replace("{sees}", _SEES_A_LIST if push.visits_list else _SEES_EACH),
    ) as dag:
        resolve = ResolveReconcileOperator(task_id="resolve", partner=slug)
        compare = CompareOperator.partial(task_id="compare", partner=slug, pool=slug).expand(shard=resolve.output)
        repair = RepairOperator(task_id="repair", partner=slug, trigger_rule=_AFTER_SHARDS)
        push_repairs = PushRepairsOperator.partial(task_id="push", partner=slug, pool=slug).expand(shard=repair.output)
        again = CompareOperator.partial(task_id="compare_again", partner=slug, pool=slug, after_repair=True).expand(
            shard=repair.output
        )
        conclude = ConcludeOperator(task_id="conclude", partner=slug)
        compare >> [repair, conclude]
        push_repairs >> again >> conclude
    return with_form(dag, reconcile_params())
