"""The converters of partner files, over any JSON and over the forms that partners write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.partners.converters import MAX_TEXT, Converter, Unfit, converter, out_converter, to_kana
from partner_sync.partners.dates import parse_date
from partner_sync.partners.fields import FieldType
from partner_sync.partners.parts import InField, OutField, code_tables

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OPTIONS: dict[str, tuple[FieldType, dict[str, Any]]] = {
    "text": ("text", {}),
    "date": ("date", {}),
    "datetime": ("text", {"zone": "Asia/Tokyo"}),
    "code_map": ("text", {"codes": "care_level"}),
    "kana": ("text", {}),
    "digits": ("text", {}),
    "split_name": ("text", {"which": "given"}),
    "boolean": ("boolean", {}),
    "postal_code": ("text", {}),
    "phone": ("text", {}),
}


def made(name: str, type_: FieldType | None = None, **options: Any) -> Converter:
    preset_type, preset = OPTIONS[name]
    mapped = InField.model_validate({"from": "x", "convert": name, **preset, **options})
    return converter(mapped, type_ or preset_type)


def tried(convert: Converter, value: Any) -> tuple[Any, str | None]:
    try:
        return convert(value), None
    except Unfit as unfit:
        return None, unfit.code


def code_of(convert: Converter, value: Any) -> str:
    with pytest.raises(Unfit) as raised:
        convert(value)
    return raised.value.code


@pytest.mark.parametrize("name", OPTIONS)
@given(value=JSON)
def test_any_json_gives_a_value_or_a_code_that_does_not_quote_it(name: str, value: Any) -> None:
    found, code = tried(made(name), value)
    assert code is None or (code.isascii() and code.islower())
    assert found is None or isinstance(found, str | date | datetime | bool)
    assert not isinstance(found, str) or ("\0" not in found and found != "")


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("value", [None, ""])
def test_nothing_stays_nothing(name: str, value: Any) -> None:
    assert made(name)(value) is None


@given(st.dates(min_value=date(1868, 1, 25), max_value=date(2199, 12, 31)))
def test_a_date_is_read_back_from_every_western_form(day: date) -> None:
    forms = ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日"]
    assert {parse_date(day.strftime(form)) for form in forms} == {day}
    assert parse_date(f"{day.year}/{day.month}/{day.day}") == day


ERAS = [
    ("M", "明治", 1, 1868),
    ("T", "大正", 2, 1912),
    ("S", "昭和", 3, 1926),
    ("H", "平成", 4, 1989),
    ("R", "令和", 5, 2019),
]


@given(
    era=st.sampled_from(ERAS),
    year=st.integers(min_value=2, max_value=14),
    month=st.integers(1, 12),
    day=st.integers(1, 28),
)
def test_a_date_is_read_from_every_form_of_its_era(
    era: tuple[str, str, int, int], year: int, month: int, day: int
) -> None:
    letter, name, digit, first = era
    expected = date(first - 1 + year, month, day)
    forms = [f"{letter}{year}.{month}.{day}", f"{letter.lower()}{year:02}/{month:02}/{day:02}",
             f"{name}{year}年{month}月{day}日", f"{digit}{year:02}{month:02}{day:02}"]  # fmt: skip
    assert {parse_date(form) for form in forms} == {expected}


@pytest.mark.parametrize(
    ("text", "day"),
    [("昭和55年1月2日", date(1980, 1, 2)), ("S55.1.2", date(1980, 1, 2)), ("令和元年5月1日", date(2019, 5, 1)),
     ("3130405", date(1938, 4, 5)), ("１９３８－０４－０５", date(1938, 4, 5)), ("平成35年3月31日", date(2023, 3, 31)),
     ("99991231", date(9999, 12, 31))],
)  # fmt: skip
def test_dates_as_partners_write_them(text: str, day: date) -> None:
    assert parse_date(text) == day


@pytest.mark.parametrize(
    "text",
    ["2026-02-30", "2024-W01-1", "20261301", "昭和0年1月1日", "平成1年1月7日", "S1.1.1", "6010101",
     "0000-00-00", "99999999", "2026-11-23T00:00:00", "昨日", "1" * 50],
)  # fmt: skip
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_date(text) is None
    assert code_of(made("date"), text) in {"not_a_date", "too_long"}


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])))
def test_a_time_with_an_offset_is_the_same_moment(moment: datetime) -> None:
    assert made("datetime")(moment.isoformat()) == moment


def test_a_time_without_an_offset_needs_a_zone() -> None:
    assert made("datetime")("2026-11-23T09:00:00") == datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
    without = converter(InField.model_validate({"from": "x", "convert": "datetime"}), "text")
    assert code_of(without, "2026-11-23T09:00:00") == "not_a_time"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", "  山田　", "山田"),
        ("kana", "ﾔﾏﾀﾞ ﾀﾛｳ", "ヤマダ　タロウ"),
        ("kana", "やまだ  たろう", "ヤマダ　タロウ"),
        ("digits", "０１２-３４５", "012345"),
        ("digits", "Ｈ123456789", "H123456789"),
        ("digits", 12345, "12345"),
        ("postal_code", "〒１１３－００２１", "1130021"),
        ("postal_code", "113-0021", "1130021"),
        ("phone", "０３－１２３４－５６７８", "03-1234-5678"),
        ("split_name", "山田　太郎", "太郎"),
        ("split_name", "山田 太郎 ジュニア", "太郎 ジュニア"),
        ("boolean", "1", True),
        ("boolean", False, False),
        ("boolean", "TRUE", True),
        ("code_map", "２１", "care_1"),
        ("code_map", 21, "care_1"),
    ],
)
def test_values_become_canonical(name: str, value: Any, expected: Any) -> None:
    assert made(name)(value) == expected


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("text", 7, "not_text"),
        ("text", 1.5, "not_text"),
        ("text", True, "not_text"),
        ("text", ["a"], "not_text"),
        ("text", "x" * (MAX_TEXT + 1), "too_long"),
        ("text", "a\0b", "nul_character"),
        ("code_map", "99", "unmapped_code"),
        ("digits", 1.0, "not_text"),
        ("digits", "なし", "not_digits"),
        ("postal_code", "113", "not_a_postal_code"),
        ("split_name", "山田", "name_not_split"),
        ("boolean", "maybe", "not_a_boolean"),
        ("boolean", 1.0, "not_a_boolean"),
    ],
)
def test_what_does_not_fit_has_a_code(name: str, value: Any, code: str) -> None:
    assert code_of(made(name), value) == code


def test_a_name_that_cannot_be_split_is_kept_whole_as_the_family_name() -> None:
    assert made("split_name", which="family")("山田") == "山田"


def test_a_reference_takes_whole_numbers_as_text_but_no_fraction() -> None:
    convert = made("text", "reference")
    assert convert(12) == "12"
    assert code_of(convert, 12.0) == "not_text"
    assert code_of(convert, True) == "not_text"


def test_values_that_mean_nothing_are_empty() -> None:
    assert made("date", empty_when=["99991231"])("99991231") is None


def test_own_words_for_yes_and_no_replace_the_usual_ones() -> None:
    convert = made("boolean", true_when=["在籍"], false_when=["退職"])
    assert (convert("在籍"), convert("退職")) == (True, False)
    assert code_of(convert, True) == "not_a_boolean"


@given(st.sampled_from(["Y", "y", "YES", " Yes "]), st.sampled_from([str.lower, str.upper, str.strip]))
def test_signs_of_yes_are_compared_without_capitals_on_both_sides(sign: str, change: Callable[[str], str]) -> None:
    convert = made("boolean", true_when=[sign], false_when=["N"])
    assert convert(change(sign)) is True
    assert convert("n") is False


@given(st.text(alphabet="アカサタナハマヤラワガザダバパンャュョッー　", min_size=1, max_size=30))
def test_kana_that_is_ready_does_not_change_twice(text: str) -> None:
    once = to_kana(text)
    assert once is None or to_kana(once) == once


@pytest.mark.parametrize("table", sorted(code_tables()))
def test_a_canonical_code_goes_out_and_comes_back(table: str) -> None:
    outward = out_converter(OutField.model_validate({"from": "status", "convert": "code_map", "codes": table}))
    inward = made("code_map", codes=table)
    assert all(inward(outward(code)) == code for code in set(code_tables()[table].values()))


def test_a_canonical_code_without_a_code_at_the_partner_is_unmapped() -> None:
    convert = out_converter(OutField.model_validate({"from": "status", "convert": "code_map", "codes": "gender"}))
    assert code_of(convert, "planned") == "unmapped_code"


@given(st.integers(-(10**17), 10**17))
def test_a_whole_number_goes_out_as_one(number: int) -> None:
    assert out_converter(OutField.model_validate({"from": "patient_key", "convert": "integer"}))(str(number)) == number


@pytest.mark.parametrize("text", ["007", "P-1", "1.0", "", "９", "-0", "1" * 30])
def test_a_key_that_a_number_would_change_does_not_go_out_as_one(text: str) -> None:
    convert = out_converter(OutField.model_validate({"from": "patient_key", "convert": "integer"}))
    assert code_of(convert, text) == "not_an_integer"


def test_times_go_out_in_the_zone_of_the_file() -> None:
    moment = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    tokyo = {"from": "start_at", "zone": "Asia/Tokyo"}
    assert (
        out_converter(OutField.model_validate({**tokyo, "convert": "datetime"}))(moment) == "2026-11-23T09:30:00+09:00"
    )
    assert (
        out_converter(OutField.model_validate({"from": "start_at", "convert": "datetime"}))(moment)
        == "2026-11-23T00:30:00+00:00"
    )
