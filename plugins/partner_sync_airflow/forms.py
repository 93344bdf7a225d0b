"""The forms of the DAGs: what a person may fill in, and what the first task reads out of it.

A form cannot offer the organizations to choose from (its options come from the time when the file is read), so their
codes are typed and checked by the first task, which names near ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from airflow.sdk import Param

from partner_sync.errors import FormError
from partner_sync.partners.fields import ENTITY_ORDER, Entity
from partner_sync.partners.model import Partner
from partner_sync.weeks import TOKYO, Week

MasterMode = Literal["full", "incremental"]
PushMode = Literal["changes", "resend", "failed"]

_CODE = {"type": "string", "maxLength": 63}


@dataclass(frozen=True, kw_only=True)
class MasterForm:
    """A master sync: codes (none: all that are linked), entities in dependency order, mode, where to read anew from.

    ``approved_changed``, ``approved_removed``: up to how many rows a slice may change, or remove, that was held before.
    """

    organizations: tuple[str, ...]
    entities: tuple[Entity, ...]
    mode: MasterMode
    since_at: datetime | None
    approved_changed: int = 0
    approved_removed: int = 0


@dataclass(frozen=True, kw_only=True)
class PushForm:
    """A push: the day that names the week (None: not given), codes (none: all that are linked), mode, dry run."""

    week: str | None
    organizations: tuple[str, ...]
    mode: PushMode
    dry_run: bool


def master_params(partner: Partner) -> dict[str, Param]:
    """The form of ``<partner>__master_sync``."""
    entities = [entity for entity in ENTITY_ORDER if partner.master and entity in partner.master.entities]
    return {
        "organizations": organizations_param(),
        "entities": Param(
            entities,
            type="array",
            items={"type": "string", "enum": entities},
            minItems=1,
            uniqueItems=True,
            examples=entities,
            values_display={
                "office": "office 事業所",
                "practitioner": "practitioner 職員",
                "patient": "patient 利用者",
            },
            title="Entities / 対象",
            description="What to read. / 取り込む対象。",
        ),
        "mode": Param(
            "incremental",
            type="string",
            enum=["incremental", "full"],
            values_display={"incremental": "changed records only / 差分", "full": "everything / 全件"},
            title="Mode / 方式",
            description="A partner that cannot list changes is read in full. "
            "/ 差分を取得できない連携先は全件を取り込みます。",
        ),
        "reload_from": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Reload from / 取り直し開始日",
            description="Read changes since this day (Asia/Tokyo) once more; empty: since the last sync. "
            "/ この日以降の変更を取り直します。空欄は前回の続きから。",
        ),
        "approved_changed": _approved_param("changes", "変更"),
        "approved_removed": _approved_param("removals", "削除"),
    }


def _approved_param(what: str, what_ja: str) -> Param:
    return Param(
        0,
        type="integer",
        minimum=0,
        title=f"Approved {what} / 承認する{what_ja}件数",
        description="After a run whose note says held: the figure of that note, if it is right. "
        "/ 保留になった実行のメモの件数が正しいときに、その件数を入力します。",
        section="After a held run / 保留の承認",
    )


def push_params() -> dict[str, Param]:
    """The form of ``<partner>__schedule_push``.

    The week may be empty for the schedule's sake alone (a scheduled run fills in no form); a run that a person starts
    without it is refused by its first task.
    """
    return {
        "week": week_param("send", "送信", section="What to send / 送信内容"),
        "organizations": organizations_param(section="What to send / 送信内容"),
        "mode": Param(
            "changes",
            type="string",
            enum=["changes", "resend", "failed"],
            values_display={
                "changes": "changes only / 差分のみ",
                "resend": "resend everything / 全件再送",
                "failed": "resend failed / 送れなかった予定だけ再送",
            },
            title="Mode / 方式",
            section="What to send / 送信内容",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run / 試算のみ",
            description="Count, plan and show masked bodies; send and write nothing. "
            "/ 件数と所要時間の試算のみ。送信しません。",
            section="What to send / 送信内容",
        ),
    }


def hold_params() -> dict[str, Param]:
    """The form of ``hold_partner``."""
    return {
        "partner": partner_param(),
        "organization": Param(
            None,
            type=["null", "string"],
            maxLength=63,
            title="Organization / 法人",
            description="Its code; empty: the whole partner. / 法人コード。空欄は連携先全体。",
        ),
        "action": Param(
            "hold",
            type="string",
            enum=["hold", "resume"],
            values_display={"hold": "hold / 一時停止", "resume": "resume / 再開"},
            title="Action / 操作",
        ),
        "reason": Param(
            "",
            type="string",
            minLength=1,
            maxLength=500,
            title="Reason / 理由",
            description="For the others of the team; nothing about a patient. "
            "/ チームの他の人が読みます。利用者の情報は書かないでください。",
        ),
    }


def partner_param() -> Param:
    return Param("", type="string", minLength=1, title="Partner / 連携先", description="Its slug. / ファイル名。")


def week_param(to_do: str, to_do_ja: str, *, section: str) -> Param:
    """The day that names the week; ``to_do``: what is done with the week."""
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title="Week / 週 (required / 必須)",
        description=f"Any day of the week to {to_do}; it goes from Monday to Sunday in Asia/Tokyo. "
        f"/ {to_do_ja}する週の任意の日。週は月曜から日曜まで(日本時間)です。",
        section=section,
    )


def organizations_param(**options: Any) -> Param:
    return Param(
        [],
        type="array",
        items=_CODE,
        title="Organizations / 法人",
        description="Codes, one a line; empty: every linked organization. "
        "/ 法人コードを1行に1つ。空欄は連携中の全法人。",
        **options,
    )


def read_master_form(params: Mapping[str, Any], partner: Partner) -> MasterForm:
    """What was filled in; raises FormError and InvalidWeekError for what cannot be."""
    known = partner.master.entities if partner.master else {}
    entities = tuple(entity for entity in ENTITY_ORDER if entity in params["entities"] and entity in known)
    if not entities:
        raise FormError(
            ja=f"選んだ対象は{partner.slug}にありません。対象を選び直してください。",
            en=f"{partner.slug} has none of the chosen entities: choose others.",
        )
    mode: MasterMode = chosen(params["mode"], get_args(MasterMode), what="mode", what_ja="方式")
    since_at = _midnight(params["reload_from"]) if params["reload_from"] else None
    if since_at is not None and mode == "full":
        raise FormError(
            ja="「取り直し開始日」は差分の取り込み用です。全件のときは空欄にしてください。",
            en="`reload_from` reads changes since a day; with the mode full leave it empty.",
        )
    return MasterForm(
        organizations=typed_lines(params["organizations"]),
        entities=entities,
        mode=mode,
        since_at=since_at,
        approved_changed=params.get("approved_changed", 0),
        approved_removed=params.get("approved_removed", 0),
    )


def read_push_form(params: Mapping[str, Any]) -> PushForm:
    """What was filled in; which week it means is for partner_sync_airflow.which_week. Raises FormError for the mode."""
    return PushForm(
        week=params["week"] or None,
        organizations=typed_lines(params["organizations"]),
        mode=chosen(params["mode"], get_args(PushMode), what="mode", what_ja="方式"),
        dry_run=params["dry_run"] is True,
    )


def chosen(typed: object, known: Sequence[Any], *, what: str, what_ja: str) -> Any:
    """What was chosen, if there is such a choice; raises FormError and never guesses. Airflow checks a form only when a
    run is made: a run that waits, or is cleared, meets the choices of today.
    """
    if typed not in known:
        names = ", ".join(known)
        raise FormError(
            ja=f"{what_ja}は {names} のどれかを選んでください。", en=f"There is no such {what}: choose one of {names}."
        )
    return typed


def typed_lines(typed: Iterable[str]) -> tuple[str, ...]:
    """What was typed, one a line: without outer space, empty lines and repetitions."""
    return tuple(dict.fromkeys(line.strip() for line in typed if line.strip()))


def _midnight(day: str) -> datetime:
    Week.parse(day)
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=TOKYO)
