"""The question before an unusual push: the task that asks it, the one that waits for the answer, what a yes starts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Protocol

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.definitions.context import Context

from partner_sync.catalogue import sentence
from partner_sync.errors import FormError
from partner_sync_airflow.approvals import (
    QUESTION,
    YES,
    Question,
    Yes,
    approve_dag,
    approved_run_id,
    as_conf,
    push_dag,
    question_of,
    question_run_id,
    start_run,
)
from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.notifications import QuestionNotifier
from partner_sync_airflow.operators.base import PartnerSyncOperator
from partner_sync_airflow.run_notes import refusals_noted, write_note

SEND, LEAVE = "送信する / Send", "送信しない / Do not send"
#: No answer within this time is a no.
ANSWER_WITHIN = timedelta(hours=24)
_ANSWER = "answer"


class AskOperator(PartnerSyncOperator):
    """Starts the run that asks a person, once; this run then ends, so that nothing waits behind the question."""

    ui_color = "#f7e7c6"

    def work(self, context: Context) -> None:
        asked = context["ti"].xcom_pull(task_ids="plan", key=QUESTION)
        dag_id, run_id = approve_dag(self.partner), question_run_id(context)
        started = start_run(context, dag_id=dag_id, run_id=run_id, conf={QUESTION: asked})
        where = f"承認 / approval: {dag_id}, {run_id}"
        told = [sentence("approval_wanted", "ja"), sentence("approval_wanted", "en"), where, asked["body"]]
        write_note(context, "\n".join(told))
        self.log.info("%s", where)
        raise started


class Asked(Protocol):
    """What a person reads of a question."""

    @property
    def subject(self) -> str:
        """One line."""

    @property
    def body(self) -> str:
        """The figures, in Markdown."""


class AskPersonOperator(HITLOperator, SkipMixin):
    """Shows a person a question and waits, without a worker, for a yes. A no, and no answer in time, skip what follows.

    Subclasses say which question, what can be answered (yes, no), and who is told of a no.

    :param partner: the partner's slug.
    """

    inherits_from_skipmixin = True
    ui_color = "#f7e7c6"
    answers: ClassVar[tuple[str, str]]
    #: Codes of the catalogue for a no, and for no answer in time.
    declined: ClassVar[str]
    expired: ClassVar[str]

    def __init__(self, *, partner: str, notifiers: QuestionNotifier, **kwargs: Any) -> None:
        super().__init__(
            # Filled in when the run is asked: its conf says what.
            subject="",
            options=list(self.answers),
            defaults=self.answers[1],
            response_timeout=ANSWER_WITHIN,
            notifiers=notifiers,
            **kwargs,
        )
        self.partner = partner

    def question(self, context: Context) -> Asked:
        """What this run asks; raises ApprovalByHandError for a run that no task has started."""
        raise NotImplementedError

    def tell(self, context: Context, lines: list[str]) -> None:
        """Say it where people look."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        with CutChain(), refusals_noted(context):
            question = self.question(context)
            self.subject, self.body = question.subject, question.body
            if (answer := _kept_answer(context)) is not None:
                return self._conclude(context, answer)
            return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Who said yes, for the next task; after a no there is none."""
        with CutChain():
            found = super().execute_complete(context, event)
            by = (found["responded_by_user"] or {}).get("name") or ""
            yes = found["chosen_options"] == [self.answers[0]] and by != ""
            answer = {"by": by, "yes": yes, "clears": _clears(context)}
            # Airflow may end the task that it has just resumed, and try it again: nobody answers twice.
            context["task_state_store"].set(_ANSWER, answer)
            return self._conclude(context, answer)

    def _conclude(self, context: Context, answer: dict[str, Any]) -> dict[str, Any]:
        by = str(answer["by"])
        if not answer["yes"]:
            code = self.declined if by else self.expired
            self.tell(context, [sentence(code, "ja"), sentence(code, "en"), *([by] if by else [])])
            self.skip_all_except(context["ti"], [])
        return {"by": by}


class ApproveOperator(AskPersonOperator):
    """Asks about the plan of an unusual push; the notes of this run and of the one that asked say what came of it."""

    answers = (SEND, LEAVE)
    declined, expired = "approval_declined", "approval_expired"

    def question(self, context: Context) -> Question:
        return question_of(context)

    def tell(self, context: Context, lines: list[str]) -> None:
        _note_both(context, lines)


def _kept_answer(context: Context) -> dict[str, Any] | None:
    """The answer to this question, if a try before this one has got it; a cleared run asks anew."""
    kept = context["task_state_store"].get(_ANSWER)
    return kept if isinstance(kept, dict) and kept["clears"] == _clears(context) else None


def _clears(context: Context) -> int:
    return context["dag_run"].clear_number or 0


class SendApprovedOperator(PartnerSyncOperator):
    """After a yes: starts the push again with the same form; it plans anew, and asks again when it has grown."""

    def work(self, context: Context) -> None:
        question, by = question_of(context), who_said_yes(context)
        yes = Yes(calls=question.calls, by=by, requested_by=question.requested_by, weekly=question.weekly)
        run_id = approved_run_id(context)
        started = start_run(
            context, dag_id=push_dag(self.partner), run_id=run_id, conf=question.form | as_conf(YES, yes)
        )
        _note_both(
            context,
            [
                f"{yes.by} が承認しました。実行 {run_id} で送ります(呼び出し {yes.calls:,}回の1割増まで)。",
                f"Approved by {yes.by}: the run {run_id} sends it, up to a tenth more than {yes.calls:,} calls.",
            ],
        )
        raise started


def who_said_yes(context: Context) -> str:
    """The login of whoever has answered; raises FormError, and notes it, when the task was marked instead."""
    answer = context["ti"].xcom_pull(task_ids="approve")
    with refusals_noted(context):
        if not answer:
            raise FormError(
                ja="承認の答えがありません。タスクの状態を変えずに、質問に答えてください。",
                en="Nobody has said yes: answer the question instead of marking its task.",
            )
    return str(answer["by"])


def _note_both(context: Context, lines: list[str]) -> None:
    """Tell it in the note of this run, and of the run that asked: that is where its planner looks."""
    question = question_of(context)
    text = "\n".join([*lines, question.subject])
    write_note(context, text)
    write_note(context, text, of=(question.asked_by[0], question.asked_by[1]))
