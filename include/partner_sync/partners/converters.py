"""The closed list of converters that a partner file may name (reference: docs/partner-file.md).

``converter(mapped, type_)`` gives a function from any JSON value to the canonical value. A value that does not fit
raises ``Unfit``, which carries a code and never the value. None, an absent value and an empty text are None.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import jaconv

from partner_sync.partners.dates import after_its_era, parse_date
from partner_sync.partners.fields import FieldType
from partner_sync.partners.parts import InField, OutField
from partner_sync.weeks import TOKYO

Converter = Callable[[Any], Any]
MAX_TEXT = 1000

#: Problems of the field alone, without a doubt about the record: everything else is critical.
NOT_CRITICAL = frozenset(
    {"unmapped_code", "name_not_split", "not_a_postal_code", "not_a_time", "extra_left_out", "after_its_era"}
)

#: A wrong number keeps nobody out, nor does one without a digit in it.
NUMBERS = frozenset({"office_number", "license_number", "insurer_number", "insured_number", "phone"})

_SPACES = re.compile(r"[\s　]+")
_KANA_READY = re.compile(r"[ァ-ヶー]+(?:　[ァ-ヶー]+)*")
_NOT_DIGITS = re.compile(r"[^0-9A-Za-z]+")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_POSTAL = re.compile(r"\d{7}")


class Unfit(Exception):  # noqa: N818 - a judgement on a value, always caught by the mapper, no error of the program
    """The value does not fit the field; ``code`` says how. ``kept``: what the field has all the same."""

    def __init__(self, code: str, kept: Any = None) -> None:
        super().__init__(code)
        self.code = code
        self.kept = kept


def is_critical(field: str, code: str) -> bool:
    """Whether a problem of a field is a doubt about the whole record."""
    return code not in NOT_CRITICAL and not (code == "not_digits" and field in NUMBERS)


def clean_text(value: Any) -> str | None:
    """A text as it is, without outer space; Unfit: not_text, nul_character, too_long."""
    if value is None:
        return None
    if type(value) is not str:
        raise Unfit("not_text")
    if len(value) > MAX_TEXT:
        raise Unfit("too_long")
    if "\0" in value:
        raise Unfit("nul_character")
    return value.strip() or None


def key_text(value: Any) -> str | None:
    """A partner's key: a text, or a whole number, which stands for its digits. Never a fraction or a boolean."""
    return clean_text(str(value) if type(value) is int and abs(value) < 10**30 else value)


def number_or_text(value: Any) -> str | None:
    """For codes, digits and dates, where a number without a leading zero means the same as its text."""
    return key_text(value)


def _date(value: Any) -> date | None:
    text = number_or_text(value)
    if text is None:
        return None
    day = parse_date(text)
    if day is None:
        raise Unfit("not_a_date")
    return day


def birth_reader(read: Converter) -> Converter:
    """Dates of birth by ``read``: a year that its era did not have is noted (a certificate may run until 平成35年)."""

    def convert(value: Any) -> date | None:
        day: date | None = read(value)
        # Eight places that begin with a digit are no era date; nearly every date of a good partner has them.
        if day is None or (type(value) is str and len(value) >= 8 and value[0].isdigit()):
            return day
        if after_its_era(str(value), day):
            raise Unfit("after_its_era", kept=day)
        return day

    return convert


def moment_reader(zone: str | None) -> Converter:
    """ISO 8601 to an aware time in UTC; a time without an offset is read in ``zone``, or refused without one."""
    place = ZoneInfo(zone) if zone else None

    def read(value: Any) -> datetime | None:
        if value is None:
            return None
        text = value if type(value) is str and len(value) <= 40 else clean_text(value)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=place) if moment.tzinfo is None else moment
            return moment.astimezone(UTC) if moment.tzinfo else _refuse("not_a_time")
        except (ValueError, OverflowError):
            raise Unfit("not_a_time") from None

    return read


def _refuse(code: str) -> Any:
    raise Unfit(code)


def _code_map(mapped: InField) -> Converter:
    get = mapped.table.get

    def convert(value: Any) -> str | None:
        if type(value) is str and (known := get(value)) is not None:
            return known
        text = number_or_text(value)
        if text is None:
            return None
        known = get(unicodedata.normalize("NFKC", text))
        return known if known is not None else _refuse("unmapped_code")

    return convert


def to_kana(value: Any) -> str | None:
    """Full-width katakana with single full-width spaces, from half-width kana or hiragana."""
    if type(value) is str and len(value) <= MAX_TEXT and _KANA_READY.fullmatch(value):
        return value
    text = clean_text(value)
    if text is None:
        return None
    wide = jaconv.hira2kata(jaconv.h2z(text, kana=True, ascii=False, digit=False))
    return _SPACES.sub("　", wide)


def to_digits(value: Any) -> str | None:
    """Digits (and letters, as in H123456789) without separators, half-width; leading zeros stay."""
    if type(value) is str and value.isascii() and value.isalnum() and len(value) <= MAX_TEXT:
        return value
    text = number_or_text(value)
    if text is None:
        return None
    return _NOT_DIGITS.sub("", unicodedata.normalize("NFKC", text)) or _refuse("not_digits")


def _split(which: str, before: Converter) -> Converter:
    def convert(value: Any) -> str | None:
        text = before(value)
        if text is None:
            return None
        parts = _SPACES.split(text, maxsplit=1)
        if len(parts) == 2:
            return str(parts[which == "given"])
        # The whole stays as the family name, so that nothing is lost; the given name says that it is missing.
        return str(parts[0]) if which == "family" else _refuse("name_not_split")

    return convert


def _boolean(mapped: InField) -> Converter:
    yes = {_sign(each) for each in mapped.true_when}
    no = {_sign(each) for each in mapped.false_when}
    true_is_yes = (bool, True) in yes

    def convert(value: Any) -> bool | None:
        if value is True and true_is_yes:
            return True
        if value is None or value == "":
            return None
        if isinstance(value, str | int | bool):
            sign = _sign(value)
            if sign in yes:
                return True
            if sign in no:
                return False
        raise Unfit("not_a_boolean")

    return convert


def _sign(value: str | int | bool) -> tuple[type, str | int | bool]:
    """A sign of yes or no, as it is compared: texts without outer space, capital and small letters alike."""
    # True == 1 in Python, so the type is part of the comparison.
    return (type(value), value.strip().lower() if isinstance(value, str) else value)


def _postal_code(value: Any) -> str | None:
    if type(value) is str and len(value) <= 8 and value.isascii():
        plain = value.replace("-", "")
        if len(plain) == 7 and plain.isdigit():
            return plain
    text = clean_text(value)
    if text is None:
        return None
    digits = unicodedata.normalize("NFKC", text).translate(_NO_SEPARATORS)
    return digits if _POSTAL.fullmatch(digits) else _refuse("not_a_postal_code")


_NO_SEPARATORS = {ord(sign): None for sign in "-‐‑‒–—―−ーｰ〒 　"}
_PHONE_SIGNS = {ord(sign): "-" for sign in "‐‑‒–—―−ーｰ"}


def _phone(value: Any) -> str | None:
    if type(value) is str and value.isascii():
        return clean_text(value)
    text = clean_text(value)
    return None if text is None else unicodedata.normalize("NFKC", text).translate(_PHONE_SIGNS)


def converter(mapped: InField, type_: FieldType) -> Converter:
    """The function of a mapped field (in-direction)."""
    plain: dict[str, Converter] = {
        "text": key_text if type_ == "reference" else clean_text,
        "date": _date,
        "digits": to_digits,
        "postal_code": _postal_code,
        "phone": _phone,
    }
    made: dict[str, Callable[[], Converter]] = {
        "datetime": lambda: moment_reader(mapped.zone),
        "code_map": lambda: _code_map(mapped),
        "kana": lambda: _split(mapped.which, to_kana) if mapped.which else to_kana,
        "split_name": lambda: _split(mapped.which or "family", clean_text),
        "boolean": lambda: _boolean(mapped),
        "constant": lambda: lambda _value: mapped.value,
    }
    found = plain.get(mapped.convert) or made[mapped.convert]()
    return _with_empties(found, frozenset(mapped.empty_when)) if mapped.empty_when else found


def _with_empties(inner: Converter, empties: frozenset[str]) -> Converter:
    def convert(value: Any) -> Any:
        return None if type(value) is str and value.strip() in empties else inner(value)

    return convert


def out_converter(mapped: OutField) -> Converter:
    """The function from a visit's value to what the partner is sent. None stays None."""
    if mapped.convert == "constant":
        return lambda _value: mapped.value
    if mapped.convert == "code_map":
        codes: dict[str, str] = {}
        for theirs, ours in mapped.table.items():
            codes.setdefault(ours, theirs)
        return lambda value: None if value is None else codes.get(str(value)) or _refuse("unmapped_code")
    if mapped.convert == "integer":
        return lambda value: None if value is None else _whole_number(str(value))
    zone = ZoneInfo(mapped.zone) if mapped.zone else UTC
    if mapped.convert == "datetime":
        return lambda value: None if value is None else value.astimezone(zone).isoformat(timespec="seconds")
    if mapped.convert == "date":
        return lambda value: None if value is None else _day_of(value).isoformat()
    return lambda value: None if value is None else str(value)


def _whole_number(text: str) -> int:
    # A number does not carry leading zeros: 007 and 7 may be two keys of the partner.
    return int(text) if _INTEGER.fullmatch(text) else _refuse("not_an_integer")


def _day_of(value: date | datetime) -> date:
    return value.astimezone(TOKYO).date() if isinstance(value, datetime) else value
