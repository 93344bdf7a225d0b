"""The task of ``answer_lost``: lost answers are settled by a person's word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.forms_of_repair import read_answer_form
from partner_sync_airflow.operators.base import doors, run_key
from partner_sync_airflow.operators.delivery import requested_by
from partner_sync_airflow.partner_files import partner_named
from partner_sync_airflow.run_notes import refusals_noted, write_note

if TYPE_CHECKING:
    from partner_sync.delivery.answers import Word


class AnswerLostOperator(BaseOperator):
    """Settles what the form names; returns how many visits are accepted, withdrawn and sent again."""

    def execute(self, context: Context) -> dict[str, int]:
        from partner_sync.delivery.answers import answer_visits

        with CutChain(), refusals_noted(context), doors().connect("release") as conn:
            word = read_word(context)
            partner_named(word.partner)
            settled = {str(outcome): count for outcome, count in answer_visits(conn, word).items()}
            told = [*_told(word, settled)]
            for line in told:
                self.log.info("%s", line)
            write_note(context, "\n".join(told))
            return settled


def read_word(context: Context) -> Word:
    """The word that the form of the run says, in the name of who started it."""
    from partner_sync.delivery.answers import Word

    form = read_answer_form(context["params"])
    return Word(
        partner=form.partner,
        organization=form.organization,
        visits=form.visits,
        there=form.there,
        requested_by=requested_by(context),
        run_key=run_key(context),
    )


def _told(word: Word, settled: dict[str, int]) -> Iterator[str]:
    from partner_sync.words import count_name

    for outcome, count in settled.items():
        names = (count_name(outcome, "ja"), count_name(outcome, "en"))
        yield f"{word.partner}, {word.organization}: {names[0]} {count:,} / {count:,} {names[1]}"
