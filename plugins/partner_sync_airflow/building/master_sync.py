"""``<partner>__master_sync``: resolve -> extract (a few shards) -> validate -> merge -> ask -> conclude."""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule

from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import cron, dag_arguments, with_form
from partner_sync_airflow.forms import master_params
from partner_sync_airflow.operators.approve_merge import AskMergeOperator
from partner_sync_airflow.operators.conclude import ConcludeOperator
from partner_sync_airflow.operators.master import (
    ExtractOperator,
    MergeOperator,
    ResolveMasterOperator,
)
from partner_sync_airflow.operators.validation import ValidateOperator

_DOC = """\
連携先のマスタ(事業所・職員・利用者)を取り込みます。 / Reads the partner's offices, practitioners and patients.

1. `resolve` checks the form and finds the organizations; it names near codes when one is not known.
2. `extract` reads the pages into staging, at most `shards` tasks at a time, and waits (deferred) for the limits.
3. `validate` judges the rows, or waits for `validate_due` to do so; bad ones go to quarantine.
4. `merge` brings the others into the canonical tables; what is unusual is held, and the present data stay.
5. `ask` starts a run of `{partner}__approve_merge` for each held merge, once for a cause; after a yes there a sync of
   that organization and entity starts by itself.
6. `conclude` turns the run red when an organization failed, and writes the run's note.
"""
#: A shard that failed must not hold back what the others have read.
_AFTER_SHARDS = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS


def build_master_sync(partner: Partner) -> DAG | None:
    """The DAG, or None for a partner without master data."""
    if partner.master is None:
        return None
    slug = partner.slug
    with DAG(
        **dag_arguments(partner, "master_sync", does="マスタ取り込み / master data in"),
        schedule=cron(partner.master.schedule),
        max_active_runs=1,
        doc_md=_DOC.replace("{partner}", slug),
    ) as dag:
        resolve = ResolveMasterOperator(task_id="resolve", partner=slug)
        extract = ExtractOperator.partial(task_id="extract", partner=slug, pool=slug).expand(shard=resolve.output)
        validate = ValidateOperator(task_id="validate", partner=slug, trigger_rule=_AFTER_SHARDS)
        merge = MergeOperator(task_id="merge", partner=slug)
        conclude = ConcludeOperator(task_id="conclude", partner=slug)
        ask = AskMergeOperator.partial(task_id="ask", partner=slug).expand(held=merge.output)
        extract >> validate >> merge >> [ask, conclude]
        ask >> conclude
    return with_form(dag, master_params(partner))
