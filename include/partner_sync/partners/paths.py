"""Reading a value at a dotted path of decoded JSON, and the conditions of a partner file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partner_sync.partners.parts import Condition

Getter = Callable[[dict[str, Any]], Any]


def getter(path: str) -> Getter:
    """Reads the value at a dotted path of an object; None when a step is missing or is no object."""
    steps = path.split(".")
    if len(steps) == 1:
        return lambda record: record.get(path)
    if len(steps) == 2:
        return _pair_getter(*steps)
    return lambda record: value_at(record, path)


def _pair_getter(outer: str, inner: str) -> Getter:
    def get(record: dict[str, Any]) -> Any:
        found = record.get(outer)
        return found.get(inner) if type(found) is dict else None

    return get


def value_at(document: object, path: str | None) -> Any:
    """The value at a dotted path of any JSON value; the document itself without a path; None when there is none."""
    for step in path.split(".") if path else ():
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def holds(condition: Condition) -> Callable[[dict[str, Any]], bool]:
    """Whether a record meets a condition of the partner file. True and 1 are different values."""
    get = getter(condition.source)
    wanted = {(type(each), each) for each in condition.equals}

    def test(record: dict[str, Any]) -> bool:
        value = get(record)
        if condition.is_set:
            return value not in (None, "", False)
        return isinstance(value, str | int | bool) and (type(value), value) in wanted

    return test
