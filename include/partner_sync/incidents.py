"""Open causes: one row from the run that met it first to the next good run (design, rule 9).

A person is told once for one cause; a tick that meets an open cause again stays green and says nothing.
All functions take a connection of the login sync_run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from partner_sync.catalogue import Language, Text, entry, sentence
from partner_sync.database import Connection, translated_errors
from partner_sync.statements import statement
from partner_sync.words import step_name

_OWNERS = {
    "user": Text(ja="利用法人のご担当者", en="the customer's planner or administrator"),
    "partner": Text(ja="連携先({partner})", en="the partner ({partner})"),
    "us": Text(ja="連携チーム", en="the integration team"),
}
_ALL = Text(ja="すべて", en="all")
_FOR_THE_LEAD = Text(ja="【責任者へ】", en="[For the team's lead]")
_AT_ONCE = Text(ja="すぐに確認してください。", en="Please look at it now.")
_LASTS = Text(ja="{runs}回以上の実行で続いています。", en="It has lasted for {runs} runs or more.")
_OVER = Text(ja="解消しました。これまでの状況: {what}", en="It is over. It was: {what}")
_NOTHING_TO_DO = Text(ja="対応は不要です。", en="Nothing to do.")
_SHOWN_ORGANIZATIONS = 20

#: What there is to tell of a cause: it is there, it has lasted for as many runs as its entry allows, it is over.
Stage = Literal["met", "lasting", "over"]


@dataclass(frozen=True, kw_only=True)
class Incident:
    """An open cause of one organization; '' is what concerns the whole partner. ``runs``: how many have met it."""

    id: int
    partner: str
    organization: str
    step: str
    code: str
    runs: int
    newly_opened: bool

    @property
    def must_escalate(self) -> bool:
        """Whether enough runs have met it for the team's lead to be told; what is for the lead at once says so then."""
        after = entry(self.code).escalate_after
        return after is not None and 1 < after <= self.runs


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Incidents with one code at one step, told to people as one."""

    partner: str
    step: str
    code: str
    organizations: tuple[str, ...]
    incident_ids: tuple[int, ...]


def open_incident(conn: Connection, *, partner: str, organization: str, step: str, code: str, run_key: str) -> Incident:
    """The open incident of this cause; ``newly_opened`` says whether ``run_key`` is the run that met it first."""
    facts = {"partner": partner, "organization": organization, "step": step, "code": code, "run_key": run_key}
    return _incidents(conn, "runs.open_incident", facts=facts)[0]


def close_incidents(
    conn: Connection, *, partner: str, organization: str, step: str, run_key: str, but: Iterable[str] = ()
) -> tuple[Incident, ...]:
    """The step went well: all open incidents of it are over, those with the codes ``but`` aside; returns them."""
    facts = {"partner": partner, "organization": organization, "step": step, "run_key": run_key, "but": sorted(but)}
    return _incidents(conn, "runs.close_incidents", facts=facts)


def open_incidents(conn: Connection, *, partner: str) -> tuple[Incident, ...]:
    """All open incidents of the partner, the oldest first."""
    return _incidents(conn, "runs.open_incidents", facts={"partner": partner})


def stopped_organizations(conn: Connection, *, partner: str, step: str, codes: Iterable[str]) -> frozenset[str]:
    """Whom an open cause with one of these codes stops at a step, and nothing shows that it may be mended: no changed
    link, no check of the connection that went well, no end of the same cause at the extract.
    """
    facts = {"partner": partner, "step": step, "codes": sorted(codes)}
    with translated_errors():
        rows = conn.execute(statement("runs.stopped"), facts).fetchall()
    return frozenset(row["organization"] for row in rows)


def whose_turn(code: str, language: Language, **facts: str) -> str:
    """Who acts on a code."""
    return owner_name(entry(code).owner, language, **facts)


def owner_name(owner: str, language: Language, **facts: str) -> str:
    """Who acts: 'partner' -> '連携先(ほのか記録)'."""
    return _OWNERS[owner].fill(language, **facts)


def notices_of(conn: Connection, *, partner: str, run_key: str) -> tuple[Cause, ...]:
    """Open differences between the partner's limits and its file that ``run_key`` met first, or nobody was told of."""
    return causes_of(_incidents(conn, "runs.notices", facts={"partner": partner, "run_key": run_key, "step": "limits"}))


def claim_notice(conn: Connection, cause: Cause, *, to: str, after: str | None = None) -> Cause | None:
    """The part of a cause that ``to`` (a channel's name, no address of a person) has not been told; None if told.

    ``after``: only what this one has been told before. It counts as told from now on: two callbacks at one time never
    send twice.
    """
    facts = {"incidents": list(cause.incident_ids), "to": to, "after": after}
    claimed = _incidents(conn, "runs.claim_notice", facts=facts)
    return next(iter(causes_of(claimed)), None)


def causes_of(incidents: Iterable[Incident]) -> tuple[Cause, ...]:
    """The incidents, those with the same partner, step and code together."""
    groups: dict[tuple[str, str, str], list[Incident]] = {}
    for incident in incidents:
        groups.setdefault((incident.partner, incident.step, incident.code), []).append(incident)
    return tuple(
        Cause(
            partner=partner,
            step=step,
            code=code,
            organizations=tuple(sorted({each.organization for each in group})),
            incident_ids=tuple(each.id for each in group),
        )
        for (partner, step, code), group in groups.items()
    )


def is_for_the_lead(cause: Cause, stage: Stage) -> bool:
    """Whether the team's lead has to hear of it as well: it lasts, or its entry says at once."""
    return stage == "lasting" or (stage == "met" and entry(cause.code).escalate_after == 1)


def message(cause: Cause, language: Language, *, partner_name: str | None = None, stage: Stage = "met") -> str:
    """What is told to people: partner, organizations, step, what happened, whose turn it is, the next action.

    What is for the team's lead says so first; what is over is nobody's turn.
    """
    name = partner_name or cause.partner
    facts = {"partner": name}
    if len(cause.organizations) == 1 and cause.organizations[0]:
        facts["organization"] = cause.organizations[0]
    lines = {
        Text(ja="連携先", en="Partner"): f"{name} ({cause.partner})" if partner_name else name,
        Text(ja="法人", en="Organizations"): organizations_line(cause.organizations, language),
        Text(ja="工程", en="Step"): step_name(cause.step, language),
        **_what_to_do(cause.code, language, facts=facts, stage=stage),
    }
    told = [f"{label.fill(language)}: {text}" for label, text in lines.items()]
    return "\n".join([*_for_the_lead(cause, language, stage=stage), *told])


def _for_the_lead(cause: Cause, language: Language, *, stage: Stage) -> list[str]:
    if not is_for_the_lead(cause, stage):
        return []
    why = _LASTS if stage == "lasting" else _AT_ONCE
    runs = str(entry(cause.code).escalate_after)
    return [f"{_FOR_THE_LEAD.fill(language)} {why.fill(language, runs=runs)}"]


def _what_to_do(code: str, language: Language, *, facts: dict[str, str], stage: Stage) -> dict[Text, str]:
    found = entry(code)
    what = found.what.fill(language, **facts)
    if stage == "over":
        return {
            Text(ja="状況", en="What happened"): _OVER.fill(language, what=what),
            Text(ja="次の対応", en="Next"): _NOTHING_TO_DO.fill(language),
        }
    return {
        Text(ja="状況", en="What happened"): what,
        Text(ja="担当", en="Whose turn"): whose_turn(code, language, **facts),
        Text(ja="次の対応", en="Next"): found.next_action.fill(language, **facts),
    }


def notice_line(cause: Cause, language: Language) -> str:
    """A cause in one line of a run's note."""
    where = f"{step_name(cause.step, language)}: {organizations_line(cause.organizations, language)}"
    return f"{where}: {sentence(cause.code, language, partner=cause.partner)}"


def organizations_line(codes: Sequence[str], language: Language) -> str:
    """The codes, at most 20 of them; 'all' where none is named."""
    named = [code for code in codes if code]
    if not named:
        return _ALL.fill(language)
    shown = ", ".join(named[:_SHOWN_ORGANIZATIONS])
    more = len(named) - _SHOWN_ORGANIZATIONS
    return shown if more <= 0 else f"{shown} (+{more})"


def _incidents(conn: Connection, name: str, *, facts: dict[str, Any]) -> tuple[Incident, ...]:
    with translated_errors():
        rows = conn.execute(statement(name), facts).fetchall()
    return tuple(Incident(**row) for row in rows)
