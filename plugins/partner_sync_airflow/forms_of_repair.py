"""The forms of ``<partner>__reconcile`` and ``answer_lost``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Param

from partner_sync_airflow.forms import chosen, organizations_param, typed_lines, week_param

_WHAT = "What to compare / 照合の対象"


@dataclass(frozen=True, kw_only=True)
class ReconcileForm:
    """A comparison: codes (none: all that are linked), and whether differences are to be mended."""

    organizations: tuple[str, ...]
    repair: bool


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """A person's word on visits of one organization: whether the partner holds them as they were sent."""

    partner: str
    organization: str
    visits: tuple[str, ...]
    there: bool


def reconcile_params() -> dict[str, Param]:
    """The form of ``<partner>__reconcile``; which week it means is for partner_sync_airflow.which_week."""
    return {
        "week": week_param("compare", "照合", section=_WHAT),
        "organizations": organizations_param(section=_WHAT),
        "repair": Param(
            False,
            type="boolean",
            title="Repair / 修復する",
            description="Off: say what differs, and change nothing. On: send anew what is missing or different there, "
            "take away what should not be there, and compare again. "
            "/ オフ: 相違を報告するだけで何も変えません。オン: ないもの・違うものを送り直し、余分なものを取り下げ、"
            "もう一度照合します。",
            section=_WHAT,
        ),
    }


def read_reconcile_form(params: Mapping[str, Any]) -> ReconcileForm:
    """What was filled in."""
    return ReconcileForm(organizations=typed_lines(params["organizations"]), repair=params["repair"] is True)


def answer_params() -> dict[str, Param]:
    """The form of ``answer_lost``; nothing in it has a default: whoever answers has looked."""
    return {
        "partner": _copied_from_note("Partner / 連携先", "Its slug", what_ja="連携先", longest=31),
        "organization": _copied_from_note("Organization / 法人", "Its code", what_ja="法人コード", longest=63),
        "visits": Param(
            type="array",
            items={"type": "string", "maxLength": 64},
            minItems=1,
            title="Visits / 予定番号",
            description="Visit ids from the note of the push, one a line; all with the same answer. "
            "/ 送信の実行メモにある予定番号を1行に1つ。答えが同じものだけをまとめます。",
        ),
        "answer": Param(
            type="string",
            enum=["there", "not_there"],
            values_display={
                "there": "there, as it was sent / 送ったとおりに入っている",
                "not_there": "not there, or not so / 入っていない、または内容が違う",
            },
            title="At the partner / 連携先の画面では",
            description="For a visit that was to be taken away: whether it is still there. "
            "/ 取り下げの場合は、まだ残っているかどうか。",
        ),
    }


def _copied_from_note(title: str, what: str, *, what_ja: str, longest: int) -> Param:
    return Param(
        type="string",
        minLength=1,
        maxLength=longest,
        title=title,
        description=f"{what}, as the note of the push says. / 送信の実行メモにある{what_ja}。",
    )


def read_answer_form(params: Mapping[str, Any]) -> AnswerForm:
    """What was filled in; raises FormError for an answer that is none: a guess could make a visit stand there twice."""
    answer = chosen(params["answer"], ("there", "not_there"), what="answer", what_ja="確認結果")
    return AnswerForm(
        partner=str(params["partner"]).strip(),
        organization=str(params["organization"]).strip(),
        visits=typed_lines(params["visits"]),
        there=answer == "there",
    )
