"""What one value must look like: the SQL of the expectations beside the same rules in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import LiteralString

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import DictRow

from partner_sync.database import Connection
from postgres.value_rules import DIRT, LETTERS, RULES, check_digit_fits, fits_cp932, is_office_number
from postgres_server import Server

#: On both sides of each bound.
VALUES: dict[str, tuple[str, ...]] = {
    "insurer_number_ok": (
        "138057", "138058", "33120015", "33120016", "13805", "1380570", "331200150", "00138057", "-38057",
    ),
    "office_number_ok": (
        "2875104529", "2875104520", "287510452", "28751045290", "1465290358", "28A5104529", "28I5104529",
    ),
    "insured_number_ok": (
        "0000000000", "9999999999", "999999999", "99999999999", "H000000000", "H00000000", "0H00000000",
        "HH00000000", "H0000000000", "000000000H",
    ),
    "kana_ok": (
        "ァ", "ヶ", "ぁ", "ヷ", "゠", "ー", "・", "　", "ヴァン　デル・ワールス", "ヤマダ タロウ", "ｱ",
    ),
    "postal_code_ok": (
        "0000000", "9999999", "000000", "00000000", "000-0000", "000000０", "000000a",
    ),
    "phone_number_ok": (
        "0312345678", "09012345678", "031234567", "090123456789", "03-1234-5678", "090-1234-5678", "(03)1234-5678",
        "03 1234 5678", "03.1234.5678", "1312345678", "+81312345678", "03-1234-567", "0-9-0-1-2-3-4-5-6-7-8",
        "03--1234-5678", "-0312345678", "03-1234-5678-", "03_1234_5678",
    ),
    "no_test_person": (
        "テスト", "テスト患者", "テスト1", "テスト　２", "TEST", "Ｔｅｓｔ", "てすと", "ﾃｽﾄ", "ダミー利用者",
        "dummy", "テストウ", "手洲戸", "Testa", "山田テスト", "テスト太", "ダミ", "テスト用",
    ),
    "fits_cp932": (
        "髙橋", "𠮷田", "吉田", "山﨑", "①～－", "〜−‖¢", "한", "é", "😀",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def validating(postgres: Server) -> Iterator[Connection]:
    """One connection of sync_validate for a whole module: nothing is written."""
    clone = postgres.clone()
    yield clone.connect("validate")
    clone.close()
    postgres.drop(clone.name)


def judged(conn: Connection, function: str, texts: list[str]) -> list[bool]:
    query = sql.SQL("select {}(t) as ok from unnest(%s::text[]) with ordinality u (t, n) order by n")
    rows = conn.execute(query.format(sql.Identifier("quality", function)), [texts])
    return [row["ok"] for row in rows]


def differences(conn: Connection, verdict: LiteralString, judged_here: Iterable[tuple[str, bool]]) -> list[DictRow]:
    """The numbers on which the SQL ``verdict`` is another than ours, by one COPY and one statement."""
    conn.execute("create temp table if not exists number (number text, ok boolean)")
    conn.execute("truncate number")
    with conn.cursor() as cursor, cursor.copy("copy number from stdin") as copy:
        for row in judged_here:
            copy.write_row(row)
    query = sql.SQL("select number from number where {} is distinct from ok limit 10")
    return conn.execute(query.format(sql.SQL(verdict))).fetchall()


@pytest.mark.parametrize("function", RULES)
def test_each_bound_and_all_dirt_are_judged_as_in_python(validating: Connection, function: str) -> None:
    texts = [*VALUES[function], *DIRT]
    expected = [RULES[function](text) for text in texts]
    assert dict(zip(texts, judged(validating, function, texts), strict=True)) == dict(zip(texts, expected, strict=True))
    assert {True, False} <= set(expected)


@pytest.mark.parametrize("function", RULES)
@settings(max_examples=60)
@given(
    texts=st.lists(
        st.text(alphabet="0123456789H-() ァヶー・　テスト患者\n")
        | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        max_size=20,
    )
)
def test_any_text_is_judged_as_in_python(validating: Connection, function: str, texts: list[str]) -> None:
    assert judged(validating, function, texts) == [RULES[function](text) for text in texts]


def test_every_character_of_the_basic_plane_fits_cp932_exactly_when_python_can_encode_it(
    validating: Connection,
) -> None:
    rows = validating.execute(
        "select n from generate_series(1, 65535) n where n not between 55296 and 57343 and quality.fits_cp932(chr(n))"
    )
    expected = {n for n in range(1, 0x10000) if not 0xD800 <= n <= 0xDFFF and fits_cp932(chr(n))}
    assert {row["n"] for row in rows} == expected


def test_the_check_digit_agrees_with_python_on_a_million_numbers(validating: Connection) -> None:
    draw = Random(19113760)
    numbers = (draw.randrange(10 ** draw.choice((6, 8, 10))) for _ in range(1_000_000))
    judged_here = ((str(n), check_digit_fits(f"{n:010}")) for n in numbers)
    assert differences(validating, "quality.check_digit_ok(number::bigint)", judged_here) == []


def test_office_numbers_of_every_kind_agree_with_python(validating: Connection) -> None:
    draw = Random(2875104529)
    kinds = "0123456789" + LETTERS
    texts = (f"{draw.randrange(100):02}{draw.choice(kinds)}{draw.randrange(10**7):07}" for _ in range(100_000))
    judged_here = ((text, is_office_number(text)) for text in texts)
    assert differences(validating, "quality.office_number_ok(number)", judged_here) == []
