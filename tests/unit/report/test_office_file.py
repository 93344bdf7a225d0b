"""The file for a partner's office: a spreadsheet computes nothing in it, and nothing is lost without being counted."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.report.office_file import COLUMNS, Encoding, file_of, harmless

SIGNS = "=+-@\t\r\n＝＋－＠﹣﹢﹦﹫−"
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=30)


def a_row(**values: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "entity": "patient",
        "source_key": "k",
        "first_seen_at": datetime(2026, 11, 28, 1, tzinfo=UTC),
        "reasons": [{"expectation": "name_present"}],
        "staged": [{"family_name": "山田", "given_name": "太郎"}],
        "raw": [{"a": 1}],
    } | values


def read(rows: list[dict[str, Any]], encoding: Encoding = "utf-8") -> list[list[str]]:
    data = b"".join(file_of(rows, encoding=encoding, tell=lambda _, code: code))
    text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("sign", SIGNS)
def test_a_cell_that_begins_like_a_formula_is_a_text(sign: str) -> None:
    assert harmless(f"{sign}cmd|' /C calc'!A0").startswith("'")
    assert harmless(f" {sign}1").startswith("'")
    assert harmless(f"a{sign}") == f"a{sign}"


@given(TEXTS, st.sampled_from(["utf-8", "cp932"]))
def test_no_cell_begins_like_a_formula_whatever_a_partner_sends(text: str, encoding: Encoding) -> None:
    row = a_row(source_key=text, staged=[{"name": text}], raw=[text])
    for line in read([row], encoding):
        assert not [cell for cell in line if cell.lstrip(" \u3000")[:1] in set(SIGNS)]


@given(TEXTS)
def test_utf8_keeps_every_character(text: str) -> None:
    (_, line) = read([a_row(raw=[{"name": text}])])
    assert json.loads(line[7]) == {"name": text}
    assert line[8] == "0"


@given(TEXTS)
def test_cp932_shows_and_counts_what_it_lacks(text: str) -> None:
    (_, line) = read([a_row(raw=[text])], "cp932")
    lost = sum(1 for character in json.dumps(text, ensure_ascii=False) if not encodable(character))
    assert line[8] == str(lost)
    assert line[7].count("〓") == lost + text.count("〓")


def encodable(character: str) -> bool:
    try:
        character.encode("cp932")
    except UnicodeEncodeError:
        return False
    return True


def test_each_copy_of_a_record_is_a_line_and_times_are_in_tokyo() -> None:
    head, first, second = read([a_row(staged=[{"name": "a"}, {"name": "b"}], raw=[{"n": 1}, {"n": 2}])])
    assert head == list(COLUMNS)
    assert (first[3], second[3]) == ("1/2", "2/2")
    assert first[5] == "2026-11-28 10:00"


def test_lines_end_as_rfc_4180_says() -> None:
    data = b"".join(file_of([a_row(raw=['a "quoted"\nline'])], encoding="utf-8", tell=lambda _, code: code))
    assert data.count(b"\r\n") == 2
    assert b'""quoted' in data or b'\\""quoted' in data
