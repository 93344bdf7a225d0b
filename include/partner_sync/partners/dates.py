"""Dates as Japanese partners write them: ISO, without separators, with slashes, and in eras."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from itertools import pairwise

#: First day of each era (a date before it is refused; one after its end is not: a certificate printed in 平成 may
#: well run until 平成35年). Letter, name, code of the insurance claims.
_ERAS = (
    (date(1868, 1, 25), "M", "明治", "1"),
    (date(1912, 7, 30), "T", "大正", "2"),
    (date(1926, 12, 25), "S", "昭和", "3"),
    (date(1989, 1, 8), "H", "平成", "4"),
    (date(2019, 5, 1), "R", "令和", "5"),
)
_START = {name: start for start, *names in _ERAS for name in names}
_NEXT = {name: after for (_, *names), (after, *_) in pairwise(_ERAS) for name in names}
_NUMBERS = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{4})年(\d{1,2})月(\d{1,2})日|(\d{4})(\d{2})(\d{2})")
_ERA_TEXT = re.compile(r"(明治|大正|昭和|平成|令和|[MTSHR])\.?(\d{1,2}|元)[年./-](\d{1,2})[月./-](\d{1,2})日?")
_ERA_DIGITS = re.compile(r"([1-5MTSHR])(\d{2})(\d{2})(\d{2})")


def parse_date(text: str) -> date | None:
    """The day that ``text`` names, or None when it names none.

    Takes 1938-04-05, 1938/4/5, 1938.4.5, 1938年4月5日, 19380405, S13.4.5, 昭和13年4月5日, 令和元年5月1日 and the era
    digits 3130405; full-width digits count as digits.
    """
    # The ISO form is nearly every date of a good partner: it takes the short way.
    if len(text) == 10 and text[4] == "-" and text[7] == "-" and text.isascii():
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None
    plain = unicodedata.normalize("NFKC", text[:40]).replace(" ", "") if len(text) <= 40 else ""
    return _western(plain) or _era(plain)


def after_its_era(text: str, day: date) -> bool:
    """Whether ``text`` names ``day`` by an era that was over by then: there is no birth in 昭和65年."""
    plain = unicodedata.normalize("NFKC", text).replace(" ", "").upper()
    match = _ERA_TEXT.fullmatch(plain) or _ERA_DIGITS.fullmatch(plain)
    return match is not None and match[1] in _NEXT and day >= _NEXT[match[1]]


def _western(text: str) -> date | None:
    match = _NUMBERS.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    return _day(year, month, day)


def _era(text: str) -> date | None:
    match = _ERA_TEXT.fullmatch(text.upper()) or _ERA_DIGITS.fullmatch(text.upper())
    if match is None:
        return None
    era, year, month, day = match.groups()
    start = _START[era]
    found = _day(start.year - 1 + (1 if year == "元" else int(year)), int(month), int(day))
    return found if found is not None and year != "00" and found >= start else None


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
