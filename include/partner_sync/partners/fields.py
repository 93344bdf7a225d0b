"""The canonical fields of each entity, declared once (design, 10): the order is the column order of staging.

``office`` in a partner file is a reference: it holds the partner's key of the office, in the column ``office_key``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Entity = Literal["office", "practitioner", "patient"]
FieldType = Literal["text", "date", "boolean", "reference"]

#: In dependency order: what an entity refers to comes before it.
ENTITY_ORDER: tuple[Entity, ...] = get_args(Entity)


@dataclass(frozen=True)
class CanonicalField:
    """One field: its name in a partner file, its staging column and its type."""

    name: str
    type: FieldType = "text"

    @property
    def column(self) -> str:
        return f"{self.name}_key" if self.type == "reference" else self.name


def _fields(spec: str) -> tuple[CanonicalField, ...]:
    types: dict[str, FieldType] = {"d": "date", "b": "boolean", "r": "reference"}
    pairs = (word.partition(":") for word in spec.split())
    return tuple(CanonicalField(name, types.get(mark, "text")) for name, _, mark in pairs)


_PERSON = "office:r family_name given_name family_kana given_kana"
_VALIDITY = "valid_from:d valid_to:d active:b"

CANONICAL: dict[Entity, tuple[CanonicalField, ...]] = {
    "office": _fields("office_number name kana postal_code address phone active:b"),
    "practitioner": _fields(f"{_PERSON} role license_number {_VALIDITY}"),
    "patient": _fields(
        f"{_PERSON} birth_date:d gender postal_code prefecture city street phone "
        f"insurer_number insured_number care_level {_VALIDITY}"
    ),
}

#: What ``push.map`` may name: the values of a VisitCall.
VISIT_FIELDS: dict[str, Literal["text", "date", "datetime"]] = {
    "visit_id": "text",
    "organization": "text",
    "week": "date",
    "office_key": "text",
    "patient_key": "text",
    "practitioner_key": "text",
    "service_code": "text",
    "start_at": "datetime",
    "end_at": "datetime",
    "status": "text",
    "actual_start_at": "datetime",
    "actual_end_at": "datetime",
    "note": "text",
}


def columns(entity: Entity) -> tuple[str, ...]:
    """The staging columns of an entity, in their order."""
    return tuple(field.column for field in CANONICAL[entity])


def field(entity: Entity, name: str) -> CanonicalField | None:
    """The canonical field of this name, or None."""
    return next((each for each in CANONICAL[entity] if each.name == name), None)
