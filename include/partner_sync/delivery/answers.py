"""What people say about lost answers: the visits that wait for a word, and the word for several of them at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from partner_sync.catalogue import Language, sentence
from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.parked import ParkedOutcome, answer_parked, parked_visits
from partner_sync.errors import FormError, NotParkedError
from partner_sync.links import looks_like_a_code
from partner_sync.statements import statement

#: So many visits are named in a note, and never more text than this.
NAMED_VISITS = 20
NAMED_CHARACTERS = 240
#: Why a visit waits, when it is not just that an answer was lost.
_NOT_AS_USUAL = ("visit_name_unknown", "lost_call_differs")
_LANGUAGES: tuple[Language, ...] = ("ja", "en")
_VISIT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Word:
    """A person's word on visits of one organization: whether the partner holds them as they were sent."""

    partner: str
    organization: str
    visits: tuple[str, ...]
    there: bool
    requested_by: str
    run_key: str


def answer_visits(conn: Connection, word: Word) -> Counter[ParkedOutcome]:
    """Settle these visits by the word, as login sync_release; returns how many are accepted, withdrawn, sent again.

    Raises FormError for no visit, or a text that is no visit id, and NotParkedError naming those that do not wait for
    a person; nothing is changed then. A retry of the same run changes nothing and returns the same.
    """
    _check(conn, word)
    facts = {name: value for name, value in vars(word).items() if name != "visits"}
    found = Counter[ParkedOutcome]()
    for visit_id in word.visits:
        outcome = answer_parked(conn, visit_id=visit_id, **facts)
        if outcome is None:
            # Answered by somebody else since the check: what they said counts.
            raise NotParkedError(partner=word.partner, organization=word.organization, visits=visit_id)
        found[outcome] += 1
    return found


def _check(conn: Connection, word: Word) -> None:
    if not word.visits:
        raise FormError(
            ja="予定番号がありません。送信の実行メモにある予定番号を1行に1つ入力してください。",
            en="No visit was named: type the visit ids that the note of the push lists, one a line.",
        )
    # What is no id of ours is not repeated: it may be a name that somebody typed (design, rule 15).
    if unfit := sum(not _VISIT_ID.fullmatch(visit) for visit in word.visits):
        raise FormError(
            ja=f"{unfit}行が予定番号ではありません。予定番号だけを1行に1つ入力してください。",
            en=f"{unfit} of the lines hold no visit id. Type the ids alone, one a line.",
        )
    if not (looks_like_a_code(word.partner) and looks_like_a_code(word.organization)):
        raise FormError(
            ja="連携先または法人コードの形が違います。送信の実行メモにあるとおりに入力してください。",
            en="The partner or the organization is no code: type both as the note of the push says.",
        )
    known = {each.visit_id for each in parked_visits(conn, partner=word.partner, organization=word.organization)}
    facts = {"partner": word.partner, "organization": word.organization, "run_key": word.run_key}
    with translated_errors():
        known |= {row["visit_id"] for row in conn.execute(statement("parked.answered_by_run"), facts)}
    if unknown := [visit for visit in word.visits if visit not in known]:
        raise NotParkedError(partner=word.partner, organization=word.organization, visits=", ".join(unknown))


def parked_lines(conn: Connection, *, partner: str, organizations: Sequence[str]) -> Iterator[str]:
    """For a run's note: which visits wait for a person's word, those that wait longest first; as login sync_run."""
    facts = {"partner": partner, "organizations": list(organizations)}
    with translated_errors():
        rows = conn.execute(statement("parked.waiting"), facts).fetchall()
    if rows:
        named, more = _named([f"{row['organization']} {row['visit_id']}" for row in rows])
        yield f"担当者の確認待ち / waiting for a person's word ({partner}, DAG answer_lost): {named}{more}"
    for code in _NOT_AS_USUAL:
        # What is asked of a person is another thing here: a visit that is there may still have to be corrected.
        if some := [f"{row['organization']} {row['visit_id']}" for row in rows if row["code"] == code]:
            named, more = _named(some)
            said = [sentence(code, language, partner=partner) for language in _LANGUAGES]
            yield f"{' / '.join(said)}: {named}{more}"


def _named(visits: Sequence[str]) -> tuple[str, str]:
    shown = list(visits[:NAMED_VISITS])
    while len(", ".join(shown)) > NAMED_CHARACTERS:
        shown.pop()
    more = len(visits) - len(shown)
    return ", ".join(shown), f" (+{more:,})" if more else ""
