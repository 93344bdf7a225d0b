"""From a partner's record to the canonical columns, by functions that are made once for each entity.

A field that does not fit is None (or kept, when it is only in doubt) and a problem; the record goes on to staging with
its problems, and the validation decides. No problem carries a value.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from partner_sync.partners import fields
from partner_sync.partners.converters import (
    Converter,
    Unfit,
    birth_reader,
    converter,
    is_critical,
    key_text,
    moment_reader,
)
from partner_sync.partners.fields import Entity
from partner_sync.partners.master import MasterEntity
from partner_sync.partners.model import Partner
from partner_sync.partners.parts import Condition
from partner_sync.partners.paths import Getter, getter, holds

_MAX_EXTRA_BYTES = 16 * 1024
_NUL = b"\\u0000"
Step = tuple[Getter, Converter, str]
#: A path of one or two steps is read in place; ``get`` reads every other source.
FlatStep = tuple[str, str | None, Getter | None, Converter, str]


class FieldProblem(NamedTuple):
    """Something that does not fit: canonical field (or 'key', 'record', 'source_updated_at', 'extra'), and how."""

    field: str
    code: str
    critical: bool

    def as_json(self) -> dict[str, object]:
        return {"field": self.field, "code": self.code, "critical": self.critical}


class MappedRecord(NamedTuple):
    """A record in canonical form; ``values`` follow ``fields.columns(entity)``."""

    key: str | None
    values: tuple[Any, ...]
    extra: dict[str, Any]
    source_updated_at: datetime | None
    deleted: bool
    problems: tuple[FieldProblem, ...]


class RecordMapper:
    """Maps the records of one entity of one partner. ``columns`` names the places of ``MappedRecord.values``."""

    def __init__(self, entity: Entity, section: MasterEntity) -> None:
        self.entity = entity
        self.columns = fields.columns(entity)
        self._flat_steps = tuple(_flat_step(each, section) for each in fields.CANONICAL[entity])
        self._key = getter(section.key)
        self._deleted = _condition(section.deleted_when)
        self._extra = tuple((name, getter(name)) for name in section.extra)
        self._updated_at: Step | None = None
        if section.incremental is not None:
            changed = section.incremental
            self._updated_at = (getter(changed.field), moment_reader(changed.zone), "source_updated_at")

    def map(self, record: object) -> MappedRecord:
        """The record in canonical form; never raises for what the record holds."""
        if not isinstance(record, dict):
            return self._nothing("not_an_object")
        problems: list[FieldProblem] = []
        values = self._values_of(record, problems)
        deleted = self._deleted(record)
        # A tombstone has its key only: what it no longer says is no problem.
        kept = () if deleted else problems
        key_problems: list[FieldProblem] = []
        key = self._key_of(record, key_problems)
        at = _apply(self._updated_at, record, problems=key_problems) if self._updated_at else None
        extra = self._extra_of(record, key_problems) if self._extra else {}
        return MappedRecord(key, values, extra, at, deleted, (*key_problems, *kept))

    def _nothing(self, code: str) -> MappedRecord:
        problem = FieldProblem("record", code, critical=True)
        return MappedRecord(None, (None,) * len(self._flat_steps), {}, None, False, (problem,))

    def _values_of(self, record: dict[str, Any], problems: list[FieldProblem]) -> tuple[Any, ...]:
        # Written out flat: this loop runs two million times for 100,000 patients, and a call costs as much as its work.
        values: list[Any] = []
        for outer, inner, get, convert, name in self._flat_steps:
            if get is not None:
                value = get(record)
            else:
                value = record.get(outer)
                if inner is not None:
                    value = value.get(inner) if type(value) is dict else None
            try:
                values.append(convert(value))
            except Unfit as unfit:
                values.append(unfit.kept)
                problems.append(FieldProblem(name, unfit.code, is_critical(name, unfit.code)))
        return tuple(values)

    def _key_of(self, record: dict[str, Any], problems: list[FieldProblem]) -> str | None:
        try:
            key = key_text(self._key(record))
        except Unfit as unfit:
            problems.append(FieldProblem("key", unfit.code, critical=True))
            return None
        if key is None:
            problems.append(FieldProblem("key", "missing", critical=True))
        return key

    def _extra_of(self, record: dict[str, Any], problems: list[FieldProblem]) -> dict[str, Any]:
        found = {name: value for name, get in self._extra if (value := get(record)) is not None}
        text = _encoded(found) if found else b""
        # jsonb refuses the NUL character; a written backslash before u0000 is left out too, which loses little.
        if len(text) > _MAX_EXTRA_BYTES or _NUL in text:
            problems.append(FieldProblem("extra", "extra_left_out", critical=False))
            return {}
        return found


def compile_entity(partner: Partner, entity: Entity) -> RecordMapper:
    """The mapper of an entity; KeyError when the partner file does not have the entity."""
    return RecordMapper(entity, partner.listing_of(entity))


def _encoded(found: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(found)
    except orjson.JSONEncodeError:
        # orjson reads deeper nesting than it writes; what it cannot write is left out like a NUL.
        return _NUL


def _nothing(_value: Any) -> None:
    return None


def _flat_step(field: fields.CanonicalField, section: MasterEntity) -> FlatStep:
    mapped = section.map.get(field.name)
    if mapped is None:
        return ("", None, _nothing, _nothing, field.name)
    convert = converter(mapped, field.type)
    if field.name == "birth_date":
        convert = birth_reader(convert)
    if mapped.source is None:
        return ("", None, _nothing, convert, field.name)
    outer, *inner = mapped.source.split(".")
    if len(inner) > 1:
        return ("", None, getter(mapped.source), convert, field.name)
    return (outer, inner[0] if inner else None, None, convert, field.name)


def _apply(step: Step, record: dict[str, Any], *, problems: list[FieldProblem]) -> Any:
    get, convert, name = step
    try:
        return convert(get(record))
    except Unfit as unfit:
        problems.append(FieldProblem(name, unfit.code, is_critical(name, unfit.code)))
        return None


def _condition(condition: Condition | None) -> Callable[[dict[str, Any]], bool]:
    if condition is None:
        return lambda _record: False
    return holds(condition)
