"""The question before a merge that was held: the task that asks it, the one that waits, the sync that a yes starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.context import Context

from partner_sync.partners.fields import Entity
from partner_sync_airflow.approvals import QUESTION, YES, start_run
from partner_sync_airflow.merge_approvals import (
    MergeQuestion,
    MergeYes,
    approve_merge_dag,
    approved_sync_run_id,
    conf_of,
    merge_question_of,
    merge_question_run_id,
    sync_dag,
)
from partner_sync_airflow.operators.approval import AskPersonOperator, who_said_yes
from partner_sync_airflow.operators.base import PartnerSyncOperator
from partner_sync_airflow.run_notes import write_note

if TYPE_CHECKING:
    from partner_sync.master.guard import Held

MERGE, LEAVE = "反映する / Merge", "反映しない / Do not merge"


class AskMergeOperator(PartnerSyncOperator):
    """Starts the run that asks a person about a held merge, unless it has been asked already; this run then ends.

    :param held: what the merge handed on: organization, entity, cause, figures.
    """

    ui_color = "#f7e7c6"

    def __init__(self, *, held: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held = held

    def work(self, context: Context) -> None:
        from partner_sync.master.guard import Held

        organization, entity = self.held["organization"], self.held["entity"]
        asked = _question(self, context, entity=entity, held=Held.from_json(self.held["held"]))
        run_id = merge_question_run_id(organization=organization, entity=entity, cause=self.held["cause"])
        dag_id = approve_merge_dag(self.partner)
        started = start_run(context, dag_id=dag_id, run_id=run_id, conf=conf_of(QUESTION, asked))
        self.log.info("承認 / approval: %s, %s", dag_id, run_id)
        raise started


class ApproveMergeOperator(AskPersonOperator):
    """Asks about a held merge; the run's note says what came of it."""

    answers = (MERGE, LEAVE)
    declined, expired = "merge_approval_declined", "merge_approval_expired"

    def question(self, context: Context) -> MergeQuestion:
        return merge_question_of(context)

    def tell(self, context: Context, lines: list[str]) -> None:
        _note(context, lines)


class SyncApprovedOperator(PartnerSyncOperator):
    """After a yes: starts a sync of that organization and entity, which may go a tenth beyond what was shown."""

    def work(self, context: Context) -> None:
        question, by = merge_question_of(context), who_said_yes(context)
        yes = MergeYes(changed=question.changed, removed=question.removed, visits=question.visits, by=by)
        run_id = approved_sync_run_id(context)
        conf = question.form | conf_of(YES, yes)
        started = start_run(context, dag_id=sync_dag(self.partner), run_id=run_id, conf=conf)
        japanese = f"{by} が承認しました。実行 {run_id} で取り込みます(示した件数の1割増まで)。"
        english = f"Approved by {by}: the run {run_id} syncs it, up to a tenth more than the figures shown."
        _note(context, [japanese, english])
        raise started


def _note(context: Context, lines: list[str]) -> None:
    write_note(context, "\n".join([*lines, merge_question_of(context).subject]))


def _question(operator: AskMergeOperator, context: Context, *, entity: Entity, held: Held) -> MergeQuestion:
    """Counts and our own ids only (design, rule 15)."""
    from partner_sync.words import count_name

    organization, name = operator.held["organization"], operator.partner_file().name
    reload_from = context["params"]["reload_from"] if held.mode == "incremental" else None
    subject = f"{name.ja} / {name.en}: {organization}, {count_name(entity, 'ja')} / {count_name(entity, 'en')}"
    return MergeQuestion(
        form={"organizations": [organization], "entities": [entity], "mode": held.mode, "reload_from": reload_from},
        organizations=[organization],
        entity=entity,
        changed=held.to_change,
        removed=held.to_remove,
        visits=held.with_visits,
        subject=subject,
        body="\n".join(f"- {line}" for line in _told(held)),
    )


def _told(held: Held) -> Iterator[str]:
    from partner_sync.words import reason_name

    for why in held.why:
        yield f"保留の理由 / held for: {reason_name(f'held_{why}', 'ja')} / {reason_name(f'held_{why}', 'en')}"
    yield f"今の件数 / rows now: {held.live:,}"
    yield f"変更 / would change: {held.changed:,}{_share(held.changed, held)}"
    yield f"削除 / would be removed: {held.removed:,}{_share(held.removed, held)}"
    if held.fewer:
        yield f"いつもより少ない件数 / fewer records than usual: {held.fewer:,}"
    if held.more:
        yield f"いつもより多い件数 / more records than usual: {held.more:,}"
    if held.with_visits:
        yield f"訪問予定のある利用者の削除 / removed patients with visits to come: {held.with_visits:,}"
    if held.changed_ids:
        yield f"変更の例(当方の番号) / some of our ids that would change: {', '.join(map(str, held.changed_ids))}"
    if held.removed_ids:
        yield f"削除の例(当方の番号) / some of our ids that would be removed: {', '.join(map(str, held.removed_ids))}"


def _share(rows: int, held: Held) -> str:
    return f" ({rows / held.live:.1%})" if rows and held.live else ""
