"""The small models that every section of a partner file is made of, and the checks they share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CRON_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = re.compile(r"\b(SUN|MON|TUE|WED|THU|FRI|SAT|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)\b")
_CRON_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


class Part(BaseModel):
    """A section of a partner file: frozen, and nothing in it is ignored or bent into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False)


#: Something that disagrees: where (below the section that checks it) and what.
Disagreement = tuple[tuple[str | int, ...], str]


def refuse(found: list[Disagreement]) -> None:
    """Raise all disagreements of a section as one error of pydantic; the loader takes it apart again."""
    if found:
        raise PydanticCustomError("disagreement", "{text}", {"text": "; ".join(m for _, m in found), "found": found})


def near(name: str, known: Iterable[str]) -> str:
    """Words that ask whether the known name most like ``name`` was meant; empty when none is like it."""
    found = difflib.get_close_matches(name, [each for each in known if each != name], n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def _dotted(path: str) -> str:
    if not all(path.split(".")):
        raise ValueError("is not a dotted path")
    return path


def _template(path: str) -> str:
    unknown = set(_PLACEHOLDER.findall(path)) - {"key", "ref"}
    if not path.startswith("/") or unknown or "?" in path or "#" in path or path.startswith("//"):
        raise ValueError("must be a path that starts with /, has no query, and names {key} or {ref} at most")
    return path


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a known time zone") from None
    return name


def _cron_item(item: str, low: int, *, high: int) -> bool:
    match = _CRON_ITEM.fullmatch(item)
    if match is None:
        return False
    first, last, step = (None if group is None else int(group) for group in match.groups())
    inside = all(value is None or low <= value <= high for value in (first, last))
    return inside and (last is None or first is None or first <= last) and step != 0


def _cron(text: str) -> str:
    # croniter would cost 0.12 s of import at every parse of the DAG folder.
    fields = text.split()
    if len(fields) != len(_CRON_BOUNDS):
        raise ValueError("is not a cron text of five fields")
    for field, (low, high) in zip(fields, _CRON_BOUNDS, strict=True):
        numbers = _CRON_NAMES.sub(str(low), field)
        if not all(_cron_item(item, low, high=high) for item in numbers.split(",")):
            raise ValueError("is not a cron text: minute hour day month weekday")
    return text


def _by_own_name(data: Any) -> Any:
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return {name: name for name in data}
    return data


#: For parameters that carry values of ours: a list stands for those whose names the partner shares with us.
ByOwnName = BeforeValidator(_by_own_name)
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
DottedPath = Annotated[Text, AfterValidator(_dotted)]
PathTemplate = Annotated[Text, AfterValidator(_template)]
ZoneName = Annotated[Text, AfterValidator(_zone)]
Cron = Annotated[Text, AfterValidator(_cron)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
Parameters = Mapping[Text, str | int | bool]
Scalar = str | int | bool


@cache
def code_tables() -> dict[str, dict[str, str]]:
    """The named code tables of ``codes.yaml``: partner's code to canonical code."""
    text = Path(__file__).with_name("codes.yaml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - the safe loader, in C
    return tables


def _table(codes: Any) -> str | dict[str, str]:
    if isinstance(codes, dict) and codes and all(isinstance(code, str) for pair in codes.items() for code in pair):
        return codes
    if not isinstance(codes, str):
        raise ValueError("must be the name of a code table, or a table of the partner's codes to ours, all in quotes")
    if codes not in code_tables():
        msg = f"is not a known code table; known are {', '.join(sorted(code_tables()))}, or write the table itself"
        raise ValueError(msg)
    return codes


#: The name of a table of ``codes.yaml``, or a table that stands in the partner file itself.
CodeTable = Annotated[Any, AfterValidator(_table)]


class Condition(Part):
    """Holds when the value at ``from`` is one of ``equals``, or, with ``is_set``, when there is any value."""

    source: DottedPath = Field(alias="from")
    equals: Annotated[tuple[Scalar, ...], Field(strict=False)] = ()
    is_set: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Condition:
        if bool(self.equals) == self.is_set:
            raise ValueError("needs either `equals` or `is_set: true`")
        return self


class _FieldMap(Part):
    """Where a field comes from and the one named converter it goes through."""

    source: DottedPath | None = Field(default=None, alias="from")
    codes: CodeTable = None
    zone: ZoneName | None = None
    value: Scalar | None = None

    @property
    def table(self) -> Mapping[str, str]:
        """The code table that is named or written here: the partner's code to the canonical code."""
        return self.codes if isinstance(self.codes, dict) else code_tables()[self.codes or ""]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"from": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _options_fit(self) -> _FieldMap:
        convert: str = self.convert  # type: ignore[attr-defined]  # each subclass names its own closed list
        needed = REQUIRED_OPTIONS.get(convert, frozenset({"source"}))
        allowed = needed | ALLOWED_OPTIONS.get(convert, frozenset()) | {"convert", "empty_when"}
        shown = {"source": "from"}
        for name in sorted(needed - self.model_fields_set):
            msg = f"the converter {convert} needs `{shown.get(name, name)}`"
            raise ValueError(msg)
        for name in sorted(self.model_fields_set - allowed):
            msg = f"the converter {convert} has no option `{shown.get(name, name)}`"
            raise ValueError(msg)
        return self


InConverter = Literal[
    "text", "date", "datetime", "code_map", "kana", "digits", "split_name", "boolean", "postal_code", "phone",
    "constant",
]  # fmt: skip
OutConverter = Literal["text", "integer", "datetime", "date", "code_map", "constant"]

#: Options beside ``from`` (where nothing else is said, ``from`` alone is needed).
REQUIRED_OPTIONS: dict[str, frozenset[str]] = {
    "code_map": frozenset({"source", "codes"}),
    "split_name": frozenset({"source", "which"}),
    "constant": frozenset({"value"}),
}
ALLOWED_OPTIONS: dict[str, frozenset[str]] = {
    "datetime": frozenset({"zone"}),
    "boolean": frozenset({"true_when", "false_when"}),
    "kana": frozenset({"which"}),
}


class InField(_FieldMap):
    """A canonical field from a partner's record. ``empty_when`` lists values that mean 'nothing'."""

    convert: InConverter = "text"
    which: Literal["family", "given"] | None = None
    empty_when: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    true_when: Annotated[tuple[Scalar, ...], Field(strict=False)] = (True, "true", "1", 1)
    false_when: Annotated[tuple[Scalar, ...], Field(strict=False)] = (False, "false", "0", 0)


class OutField(_FieldMap):
    """A field of the partner's request from a canonical field of a visit."""

    convert: OutConverter = "text"
