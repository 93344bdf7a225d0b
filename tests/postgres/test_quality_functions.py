"""Check digits and codes in SQL, beside a Python version and published numbers."""

from __future__ import annotations

import pytest

from postgres_server import Database
from sandbox.check_digits import check_digit

OFFICES = {
    "2875104529": True,
    "2873010983": True,
    "2794900205": True,
    "1465290358": True,
    "2875104520": False,
    "287510452": False,
    "28I5104529": False,
    "２８７５１０４５２９": False,
}


def test_the_check_digit_agrees_with_python_on_many_numbers(database: Database) -> None:
    rows = database.connect("validate").execute(
        "select n, quality.check_digit_ok(n) as ok from (select (i * 48271::bigint * 100003) % 10000000000 as n"
        " from generate_series(1, 50000) i) numbers"
    )
    wrong = [
        n for row in rows if ((n := row["n"]) is not None) and row["ok"] != (check_digit(str(n)[:-1]) == str(n)[-1])
    ]
    assert wrong == []


@pytest.mark.parametrize("number", ["33120015", "138057", "19113760", "10131142"])
def test_exactly_one_last_digit_of_a_published_number_is_right(database: Database, number: str) -> None:
    rows = database.connect("validate").execute(
        "select %(stem)s || d as n from generate_series(0, 9) d where quality.insurer_number_ok(%(stem)s || d)",
        {"stem": number[:-1]},
    )
    assert rows.fetchall() == [{"n": number}]


@pytest.mark.parametrize("number", OFFICES)
def test_office_numbers_follow_the_rule_of_their_kind(database: Database, number: str) -> None:
    row = database.connect("validate").execute("select quality.office_number_ok(%s) as ok", [number]).fetchone()
    assert row == {"ok": OFFICES[number]}


def test_a_letter_counts_by_its_value_with_weight_two(database: Database) -> None:
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    rows = database.connect("validate").execute(
        "select l, quality.letter_digit(l) as digit from unnest(string_to_array(%s, null)) l", [letters]
    )
    for row in rows:
        product = 2 * (10 + letters.index(row["l"]))
        doubled = 2 * int(row["digit"])
        assert (product // 10 + product % 10) % 10 == (doubled // 10 + doubled % 10) % 10


@pytest.mark.parametrize("number", ["12345", "1234567", "123456789", "", "13805x", "１３８０５７"])
def test_an_insurer_number_of_another_shape_is_wrong_and_raises_nothing(database: Database, number: str) -> None:
    row = database.connect("validate").execute("select quality.insurer_number_ok(%s) as ok", [number]).fetchone()
    assert row == {"ok": False}
