"""What stands in for the DAGs of a partner file that cannot be read."""

from __future__ import annotations

from airflow.sdk import DAG

from partner_sync_airflow.building.arguments import TAGS, Kind, cron, task_arguments
from partner_sync_airflow.operators.broken import BrokenPartnerFileOperator

#: A partner must not stand still in silence: each working morning its tasks fail and tell. The others need not.
_SCHEDULES: dict[Kind, str | None] = {"master_sync": "0 8 * * *", "schedule_push": "0 8 * * *"}


def broken_dag(slug: str, kind: Kind, *, problems: list[str]) -> DAG:
    """A DAG under the usual id with one task, which fails and lists every problem with file and line."""
    listed = "\n".join(f"- `{problem}`" for problem in problems)
    told = f"### {slug}: 連携先ファイルを読み込めません / the partner file cannot be used\n\n{listed}\n"
    with DAG(
        dag_id=f"{slug}__{kind}",
        description=f"{slug}: 連携先ファイルを読み込めません / the partner file cannot be used",
        schedule=cron(_SCHEDULES.get(kind)),
        catchup=False,
        max_active_runs=1,
        tags=[slug, TAGS[kind], kind, "broken"],
        doc_md=told,
        default_args=task_arguments(slug, owner="partner-sync", alert=None),
    ) as dag:
        BrokenPartnerFileOperator(task_id="partner_file", partner=slug, problems=problems, doc_md=told)
    return dag
