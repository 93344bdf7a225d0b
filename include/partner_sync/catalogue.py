"""What a person reads for a code: whose turn it is, what happened, what to do next, in Japanese and in English.

The texts are data: catalogue.yaml, one entry a code (design, rule 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Language = Literal["ja", "en"]
Owner = Literal["user", "partner", "us"]

UNEXPECTED = "unexpected"
_UNNAMED: dict[Language, dict[str, str]] = {
    "ja": {"partner": "連携先", "organization": "法人"},
    "en": {"partner": "the partner", "organization": "the organization"},
}


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    ja: str
    en: str

    def fill(self, language: Language, **facts: str) -> str:
        """The text with partner and organization filled in; what is not given is named in general words."""
        text = self.ja if language == "ja" else self.en
        filled = text.format_map(_UNNAMED[language] | facts)
        return filled[:1].upper() + filled[1:] if language == "en" and text.startswith("{") else filled


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A code. ``retry``: none (a person first), policy (the task again), tick (the next run).

    ``escalate_after``: how many runs may meet the same open cause before the team's lead is told; None is never.
    ``stays``: a later good run does not undo what happened, so it is never told to be over.
    """

    code: str
    owner: Owner
    severity: Literal["critical", "warning", "info"]
    what: Text
    next_action: Text
    retry: Literal["none", "policy", "tick"]
    escalate_after: int | None
    stays: bool


def entry(code: str) -> Entry:
    """The entry of a code; one that nobody has written yet is unexpected, which is an entry too."""
    known = entries()
    return known.get(code, known[UNEXPECTED])


def sentence(code: str, language: Language, **facts: str) -> str:
    """What happened and what to do next. ``facts``: partner and organization, by our own codes or names."""
    found = entry(code)
    return _SPACE[language].join([found.what.fill(language, **facts), found.next_action.fill(language, **facts)])


_SPACE: dict[Language, str] = {"ja": "", "en": " "}


@cache
def entries() -> dict[str, Entry]:
    """All entries by code."""
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    return {code: _entry(code, facts) for code, facts in yaml.safe_load(text).items()}


def _entry(code: str, facts: dict[str, Any]) -> Entry:
    return Entry(
        code=code,
        owner=facts["owner"],
        severity=facts["severity"],
        what=Text(ja=facts["ja"], en=facts["en"]),
        next_action=Text(**facts["next_action"]),
        retry=facts["retry"],
        escalate_after=facts["escalate_after"],
        stays=facts.get("stays", False),
    )
