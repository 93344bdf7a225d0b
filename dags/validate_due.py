"""The DAG `validate_due`: judges what the syncs of all partners with `validation: shared` have read."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, get_parsing_context

from partner_sync_airflow.building.arguments import cron
from partner_sync_airflow.operators.validation import ValidateDueOperator
from partner_sync_airflow.partner_files import anybody_shares_validation

_DOC = """\
取り込んだデータの検査を、連携先をまとめて行います。 / Judges what was read, for many partners in one process.

The library that judges takes seconds to load. Partner files with `master: {validation: shared}` leave it to this DAG:
their `validate` task waits, without a worker, until it was here. Each minute it looks whether a run waits, and ends at
once when none does. A run that cannot be judged is red in its own DAG; the others go on.

While this DAG is paused those runs wait, say so in their notes, and are red after half an hour.
"""


def _is_wanted() -> bool:
    """A task that is about to run needs no schedule, and no partner file to be read for it."""
    return get_parsing_context().dag_id is None and anybody_shares_validation()


with DAG(
    dag_id="validate_due",
    description="取り込みデータの共通検査 / shared validation of what was read",
    tags=["master", "validate_due"],
    schedule=cron("* * * * *" if _is_wanted() else None),
    catchup=False,
    # Runs of other DAGs wait for it.
    is_paused_upon_creation=False,
    max_active_runs=1,
    doc_md=_DOC,
) as dag:
    ValidateDueOperator(task_id="judge", owner="partner-sync", retries=0, execution_timeout=timedelta(hours=1))
