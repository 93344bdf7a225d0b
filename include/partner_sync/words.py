"""The words for steps, counts, reasons and waits in run notes and messages (words.yaml)."""

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


def reason_name(reason: str, language: Language) -> str:
    """Why a visit cannot leave, or why a person is asked: 'no_key_patient' -> '利用者が連携先と未対応付け'."""
    return _word("reasons", reason, language=language)


def wait_name(code: str, language: Language) -> str:
    """What is waited for, by the code of the error that says so: 'waiting_for_limit' -> '呼び出し上限の空き'."""
    return _word("waits", code, language=language)


def severity_name(severity: str, language: Language) -> str:
    """How bad a failed expectation is: 'critical' -> '重大'."""
    return _word("severities", severity, language=language)


def _word(kind: str, key: str, *, language: Language) -> str:
    known = _words()[kind].get(key)
    return known[language] if known else key.replace("_", " ")


@cache
def _words() -> dict[str, dict[str, dict[str, str]]]:
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    words: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(text)
    return words
