"""What became of a run: one outcome for each step of each organization, and the conclusion (design, rule 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from psycopg.types.json import Jsonb

from partner_sync.catalogue import Language, entry, sentence
from partner_sync.database import Connection, translated_errors
from partner_sync.errors import OrganizationHeldError, PartnerHeldError
from partner_sync.incidents import (
    Cause,
    Incident,
    causes_of,
    close_incidents,
    notice_line,
    notices_of,
    open_incident,
)
from partner_sync.statements import statement
from partner_sync.words import count_name, step_name

Word = Literal["ok", "failed", "skipped", "held", "waiting"]
#: What a person has to look at. A held slice is no success: its data were not merged (design, rule 13).
_STOPS: frozenset[Word] = frozenset({"failed", "held"})
#: The count of visits that cannot leave; below it, by dot, for each reason: a code of the catalogue.
BLOCKED = "visit.blocked"
#: What can become of single visits, whatever the others come to.
_OF_VISITS = frozenset({"rejected", "dead", "outcome_unknown_person"})
#: No failure, but whoever waits for it must read why nothing went: a person of us holds the calls.
_TOLD_AS_WELL = frozenset({PartnerHeldError.code, OrganizationHeldError.code})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one step for one organization and entity; '' is all of them. ``counts``: numbers by dotted key."""

    partner: str
    run_key: str
    dag: str
    step: str
    outcome: Word
    code: str
    organization: str = ""
    entity: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """A run in short. ``failed``: it must end red. ``new_causes``: what nobody was told of before this run.

    ``escalated``: causes that so many runs have met that the team's lead is told, once. ``closed_causes``: what is over
    since this run, once. ``counts``: sums by step.
    ``notices``: what somebody should look at, and nobody was told of before this run, though nothing failed.
    """

    partner: str
    run_key: str
    failed: bool
    new_causes: tuple[Cause, ...]
    known_causes: tuple[Cause, ...]
    closed_causes: tuple[Cause, ...]
    escalated: tuple[Cause, ...]
    notices: tuple[Cause, ...]
    organizations: Mapping[str, Word]
    counts: Mapping[str, Mapping[str, int]]
    note_ja: str
    note_en: str


def record_outcome(conn: Connection, outcome: Outcome) -> bool:
    """Append an outcome, as any writer of a step; the latest word on a key counts.

    Returns whether it was news: a retry that says the same adds nothing. Raises DatabaseRefusedError when a count is
    no number.
    """
    facts = asdict(outcome) | {"counts": Jsonb(dict(outcome.counts))}
    with translated_errors():
        row = conn.execute(statement("runs.record_outcome"), facts).fetchone()
    return bool(row and row["news"])


def outcomes_of(conn: Connection, *, partner: str, run_key: str) -> tuple[Outcome, ...]:
    """The latest word on each key of a run, as login sync_run."""
    with translated_errors():
        rows = conn.execute(statement("runs.outcomes_of_run"), {"partner": partner, "run_key": run_key}).fetchall()
    return tuple(Outcome(partner=partner, run_key=run_key, **row) for row in rows)


def conclude(conn: Connection, *, partner: str, run_key: str, steps_done: Iterable[str] = ()) -> Conclusion:
    """Read the run's outcomes, open and close incidents by them, and write its note; as login sync_run.

    ``steps_done``: steps that went well as a whole; a cause that stopped such a step for everybody is over. Run again
    it gives the same conclusion, new causes included, but for what is over: it says that when it closes it.
    """
    outcomes = outcomes_of(conn, partner=partner, run_key=run_key)
    stopped = [outcome for outcome in outcomes if outcome.outcome in _STOPS]
    whole: dict[tuple[str, str], frozenset[str]] = {("", step): frozenset() for step in steps_done}
    with translated_errors(), conn.transaction():
        met = [_open(conn, outcome) for outcome in _once(stopped)]
        closed = [
            incident
            for (organization, step), but in sorted((whole | _went_well(outcomes)).items())
            for incident in close_incidents(
                conn, partner=partner, organization=organization, step=step, run_key=run_key, but=but
            )
        ]
    organizations = _word_by_organization(outcomes)
    notices = notices_of(conn, partner=partner, run_key=run_key)
    return Conclusion(
        partner=partner,
        run_key=run_key,
        failed=bool(stopped),
        new_causes=causes_of(incident for incident in met if incident.newly_opened),
        known_causes=causes_of(incident for incident in met if not incident.newly_opened),
        closed_causes=causes_of(incident for incident in closed if not entry(incident.code).stays),
        escalated=causes_of(incident for incident in met if incident.must_escalate),
        notices=notices,
        organizations=organizations,
        counts=_sums(outcomes),
        note_ja=_note(outcomes, organizations, notices, language="ja"),
        note_en=_note(outcomes, organizations, notices, language="en"),
    )


def _once(stopped: Iterable[Outcome]) -> list[Outcome]:
    """One outcome for each cause, in one order: two runs at one time must not wait for each other in a circle."""
    by_cause = {(each.organization, each.step, each.code): each for each in stopped}
    return [by_cause[key] for key in sorted(by_cause)]


def _went_well(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], frozenset[str]]:
    """Organization and step of which everything is ok: one bad entity leaves the cause open. With the codes that stay.

    Where the step says that it went well as a whole (entity ''), what single visits or rows came to keeps only its own
    causes open. A step that went well for anybody went well for the partner as a whole ('').
    """
    said: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        said.setdefault((outcome.organization, outcome.step), []).append(outcome)
    well: dict[tuple[str, str], frozenset[str]] = {}
    for (organization, step), found in said.items():
        whole = any(each.outcome == "ok" and not each.entity for each in found)
        words = {each.outcome for each in found}
        if "ok" in words:
            well.setdefault(("", step), frozenset())
        if whole or ("ok" in words and words <= {"ok", "skipped"}):
            well[organization, step] = _codes_met(found)
    return well


def _codes_met(outcomes: Iterable[Outcome]) -> frozenset[str]:
    """The codes that are not ok. A key says one thing: others of what can become of visits may stand behind it."""
    met = frozenset(each.code for each in outcomes if each.outcome != "ok")
    return met | _OF_VISITS if met & _OF_VISITS else met


def _open(conn: Connection, outcome: Outcome) -> Incident:
    return open_incident(
        conn,
        partner=outcome.partner,
        organization=outcome.organization,
        step=outcome.step,
        code=outcome.code,
        run_key=outcome.run_key,
    )


_WORST: tuple[Word, ...] = ("failed", "held", "waiting", "ok", "skipped")


def _word_by_organization(outcomes: Iterable[Outcome]) -> dict[str, Word]:
    """The worst word on each organization."""
    words: dict[str, Word] = {}
    for outcome in outcomes:
        if outcome.organization:
            known = words.get(outcome.organization, outcome.outcome)
            words[outcome.organization] = min(known, outcome.outcome, key=_WORST.index)
    return words


def _sums(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """Counts summed over organizations, by step and by key; an entity becomes part of the key."""
    sums: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        of_step = sums.setdefault(outcome.step, {})
        for name, number in outcome.counts.items():
            key = f"{outcome.entity}.{name}" if outcome.entity else name
            of_step[key] = of_step.get(key, 0) + number
    return sums


_HEADS: dict[Language, dict[Word, str]] = {
    "ja": {"ok": "完了", "failed": "停止", "held": "保留", "waiting": "待機中", "skipped": "対象外"},
    "en": {"ok": "done", "failed": "stopped", "held": "held", "waiting": "waiting", "skipped": "skipped"},
}


def _note(
    outcomes: tuple[Outcome, ...],
    organizations: Mapping[str, Word],
    notices: tuple[Cause, ...],
    *,
    language: Language,
) -> str:
    """Plain words with counts: a summary, a line a step, a line a cause, a line a reason why visits cannot leave.
    Our own codes only (design, rule 15).
    """
    by_step = _sums(outcomes)
    lines = [_summary(organizations, language)]
    lines += [_counts_line(step, sums, language=language) for step, sums in by_step.items() if sums]
    lines += [_cause_line(outcome, language) for outcome in outcomes if _is_told(outcome)]
    lines += [notice_line(notice, language) for notice in notices]
    lines += [line for sums in by_step.values() for line in _blocked_lines(sums, language, partner=outcomes[0].partner)]
    return "\n".join(lines)


def _counts_line(step: str, sums: Mapping[str, int], *, language: Language) -> str:
    """'push: visits accepted 4, visits blocked 3': the reasons of the blocked ones have lines of their own."""
    shown: dict[str, int] = {}
    for key, number in sums.items():
        name = BLOCKED if key.startswith(f"{BLOCKED}.") else key
        shown[name] = shown.get(name, 0) + number
    return f"{step_name(step, language)}: " + ", ".join(
        f"{count_name(key, language)} {n:,}" for key, n in shown.items()
    )


def _blocked_lines(sums: Mapping[str, int], language: Language, *, partner: str) -> Iterator[str]:
    """What is wrong and what to do next, for each reason, as the catalogue says it; the most frequent first."""
    reasons = {key.removeprefix(f"{BLOCKED}."): n for key, n in sums.items() if key.startswith(f"{BLOCKED}.")}
    for reason in sorted(reasons, key=lambda code: (-reasons[code], code)):
        yield f"{count_name(BLOCKED, language)} {reasons[reason]:,}: {sentence(reason, language, partner=partner)}"


def _is_told(outcome: Outcome) -> bool:
    return outcome.outcome in {*_STOPS, "waiting"} or outcome.code in _TOLD_AS_WELL


def _summary(organizations: Mapping[str, Word], language: Language) -> str:
    numbers = {word: sum(said == word for said in organizations.values()) for word in _WORST}
    parts = [(_HEADS[language][word], number) for word, number in numbers.items() if number]
    if language == "ja":
        return f"{len(organizations)}法人: " + "、".join(f"{head} {number}" for head, number in parts)
    return f"{len(organizations)} organizations: " + ", ".join(f"{number} {head}" for head, number in parts)


def _cause_line(outcome: Outcome, language: Language) -> str:
    # Each fact is known or left out: an empty one would leave a hole in the sentence.
    named = {"organization": outcome.organization} if outcome.organization else {}
    facts = {"partner": outcome.partner} | named
    entity = count_name(outcome.entity, language) if outcome.entity else ""
    where = " / ".join(filter(None, [outcome.organization, step_name(outcome.step, language), entity]))
    return f"{where}: {sentence(outcome.code, language, **facts)}"
