"""The words for steps and counts in run notes and messages (words.yaml)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from partner_sync.catalogue import Language


def step_name(step: str, language: Language) -> str:
    """'extract' -> '取得'; a step without a word is shown as it is written."""
    return _word("steps", step, language=language)


def count_name(key: str, language: Language) -> str:
    """'patient.inserted' -> '利用者 新規'; parts without a word are shown as they are written."""
    return " ".join(_word("counts", part, language=language) for part in key.split("."))


def _word(kind: str, key: str, *, language: Language) -> str:
    known = _words()[kind].get(key)
    return known[language] if known else key.replace("_", " ")


@cache
def _words() -> dict[str, dict[str, dict[str, str]]]:
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    words: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(text)
    return words
