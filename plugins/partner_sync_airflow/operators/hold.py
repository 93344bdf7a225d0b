"""The task of ``hold_partner``: an operator holds or resumes a partner or one of its organizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.dag_runs import started_by
from partner_sync_airflow.forms import chosen
from partner_sync_airflow.operators.base import doors
from partner_sync_airflow.run_notes import refusals_noted, write_note

if TYPE_CHECKING:
    from partner_sync.steps.hold import HoldOrder


class HoldPartnerOperator(BaseOperator):
    """Carries out what the form says, in the name of who started the run, and writes the run's note."""

    def execute(self, context: Context) -> str:
        from partner_sync.steps.hold import hold_or_resume

        with CutChain(), refusals_noted(context):
            order = read_order(context)
            with doors().connect("run") as conn:
                changed = hold_or_resume(conn, order)
            told = _told(order, changed=changed)
            self.log.info("%s", told)
            write_note(context, told)
            return told


def read_order(context: Context) -> HoldOrder:
    """The order that the form of the run says; raises FormError for an action that is none."""
    from partner_sync.steps.hold import HoldOrder

    params: Mapping[str, Any] = context["params"]
    return HoldOrder(
        partner=str(params["partner"]).strip(),
        organization=str(params["organization"] or "").strip(),
        held=chosen(params["action"], ("hold", "resume"), what="action", what_ja="操作") == "hold",
        reason=str(params["reason"]),
        by=started_by(context["dag_run"]),
    )


def _told(order: HoldOrder, *, changed: bool) -> str:
    """What was done, without the reason: it is a person's free text, and a note is read by more people."""
    word_ja, word = ("一時停止", "held") if order.held else ("再開", "resumed")
    if not changed:
        return f"{order.named}: すでに{word_ja}しています。 / nothing changed: it was {word} already."
    return f"{order.named}: {word_ja}しました({order.by})。 / {word} by {order.by}."
