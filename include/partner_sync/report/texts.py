"""All sentences of the pages, in Japanese and English: texts.yaml, one entry a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from partner_sync.catalogue import Language


@dataclass(frozen=True)
class Texts:
    """The sentences in one language; a call gives one with its facts filled in."""

    language: Language

    def __call__(self, key: str, **facts: object) -> str:
        """Raises KeyError for a key that nobody has written."""
        text = entries()[key][self.language]
        return text.format_map(facts) if facts else text

    def word(self, kind: str, code: str) -> str:
        """A code's word, 'entity' and 'office' -> '事業所'; a code without one is shown as it is written."""
        known = entries().get(f"{kind}.{code}")
        return known[self.language] if known else code

    def sentence(self, row: Mapping[str, str | None], *, code: str) -> str:
        """The sentence of an expectation in a row with ja and en, or its code where the database knows none."""
        return row[self.language] or code


@cache
def entries() -> dict[str, dict[str, str]]:
    """All texts by key."""
    text = Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found


def language_of(accepted: str) -> Language:
    """What a browser asks for (Accept-Language, RFC 9110 12.5.4): Japanese, unless it wants English more."""
    wanted = {"ja": 0.0, "en": 0.0}
    for part in accepted.split(","):
        name, _, quality = part.strip().partition(";q=")
        code = name.strip().lower()[:2]
        if code in wanted:
            wanted[code] = max(wanted[code], _number(quality))
    return "en" if wanted["en"] > wanted["ja"] else "ja"


def _number(quality: str) -> float:
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0
