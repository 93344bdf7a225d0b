"""The reference of partner files names all that the models take."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from partner_sync.partners import fields
from partner_sync.partners.known_keys import known_keys
from partner_sync.partners.parts import InConverter, OutConverter, code_tables

REFERENCE = (Path(__file__).resolve().parents[3] / "docs" / "partner-file.md").read_text(encoding="utf-8")
WORDS = [
    *known_keys(),
    *get_args(InConverter),
    *get_args(OutConverter),
    *code_tables(),
    *(field.name for canonical in fields.CANONICAL.values() for field in canonical),
    *fields.VISIT_FIELDS,
]


@pytest.mark.parametrize("word", sorted(set(WORDS)))
def test_the_reference_explains_each_word(word: str) -> None:
    assert any(f"{before}{word}{after}" in REFERENCE for before in "`{ " for after in "`:},. [")
