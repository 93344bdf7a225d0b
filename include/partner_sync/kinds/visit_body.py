"""A visit as the partner wants it, and whether what the partner holds is the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from partner_sync.partners.converters import Unfit, key_text, out_converter
from partner_sync.partners.parts import OutField
from partner_sync.partners.push import Push


class VisitBody:
    """Writes the body of a request by ``push.map``, and compares it with a record that was read back."""

    def __init__(self, push: Push) -> None:
        self._fields = tuple((target, mapped, out_converter(mapped)) for target, mapped in push.map.items())

    def written(self, values: Mapping[str, object]) -> dict[str, object]:
        """The body; raises Unfit with 'field: code' when a value has no form at the partner."""
        body: dict[str, object] = {}
        for target, mapped, convert in self._fields:
            try:
                value = convert(values.get(mapped.source) if mapped.source else None)
            except Unfit as unfit:
                msg = f"{target}: {unfit.code}"
                raise Unfit(msg) from None
            put_at(body, target, value=value)
        return body

    def is_in(self, record: Mapping[str, Any], values: Mapping[str, object]) -> bool:
        """Whether a record holds these values; a field that the partner does not show is left aside."""
        body = self.written(values)
        shown = [
            (mapped, shown_at(body, target)[1], theirs)
            for target, mapped, _ in self._fields
            for there, theirs in (shown_at(record, target),)
            if there
        ]
        return bool(shown) and all(_equal(mapped, ours, theirs=theirs) for mapped, ours, theirs in shown)

    def hidden_in(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields that a record does not show."""
        return tuple(target for target, _, _ in self._fields if not shown_at(record, target)[0])

    def changed(self, before: Mapping[str, object], values: Mapping[str, object]) -> frozenset[str]:
        """The fields in which the bodies of these two differ; raises Unfit."""
        then, now = self.written(before), self.written(values)
        return frozenset(
            target for target, _, _ in self._fields if shown_at(then, target)[1] != shown_at(now, target)[1]
        )


def name_or_none(value: object) -> str | None:
    """A visit's name, ours or the partner's: a text, or a whole number, which stands for its digits; else None."""
    try:
        name = key_text(value)
    except Unfit:
        return None
    # A name of dots alone would climb in the path that it is put into.
    return None if name in {".", ".."} else name


def put_at(body: dict[str, object], path: str, *, value: object) -> None:
    """Put a value at a dotted path, making the objects that lead to it."""
    *outer, last = path.split(".")
    here: dict[str, Any] = body
    for step in outer:
        here = here.setdefault(step, {})
    here[last] = value


def shown_at(record: object, path: str) -> tuple[bool, Any]:
    """Whether a record shows anything at a dotted path (also a null), and what."""
    for step in path.split("."):
        if not isinstance(record, Mapping) or step not in record:
            return False, None
        record = record[step]
    return True, record


def _equal(mapped: OutField, ours: Any, *, theirs: Any) -> bool:
    if ours in (None, "") or theirs in (None, ""):
        return ours in (None, "") and theirs in (None, "")
    if mapped.convert == "datetime":
        return _moment(ours, mapped.zone) == _moment(theirs, mapped.zone)
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    return str(ours).strip() == str(theirs).strip()


def _moment(value: Any, zone: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC) if moment.tzinfo is None else moment
    except ValueError:
        return None
