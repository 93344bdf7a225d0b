"""Which visits the partner takes: the fields it asks for, in each maker's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.answers import FieldsRefusedError
from sandbox.organization import Organization
from sandbox.visits import read_time

LONGEST_NOTE = 1000


@dataclass(frozen=True, kw_only=True)
class VisitFields:
    """A maker's names for what a visit is made of."""

    external_id: str | None
    office: str
    patient: str
    practitioner: str
    statuses: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Whom the partner knows, by its own keys."""

    office: Callable[[str], bool]
    patient: Callable[[str], bool]
    practitioner: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class MakerKeys:
    """How a maker writes its keys, and the ordinal that a key stands for."""

    office: Callable[[int], str]
    patient: Callable[[int], str]
    practitioner: Callable[[int], str]
    ordinal: Callable[[str], int]


def known_to(owner: Organization, keys: MakerKeys) -> Known:
    """Whom an organization's records hold, asked by the maker's keys; a key written otherwise is unknown."""

    def asked(render: Callable[[int], str], holds: Callable[[int], bool]) -> Callable[[str], bool]:
        return lambda key: render(keys.ordinal(key)) == key and holds(keys.ordinal(key))

    return Known(
        office=asked(keys.office, owner.has_office),
        patient=asked(keys.patient, lambda ordinal: owner.patient(ordinal) is not None),
        practitioner=asked(keys.practitioner, owner.has_practitioner),
    )


class _Check:
    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self.errors: list[dict[str, str]] = []

    def refuse(self, field: str, code: str) -> None:
        self.errors.append({"field": field, "code": code})

    def text(self, field: str, *, required: bool = True) -> str | None:
        value = self._body.get(field)
        if value is None or value == "":
            if required:
                self.refuse(field, "required")
            return None
        if not isinstance(value, str):
            self.refuse(field, "invalid")
            return None
        return value

    def known(self, field: str, is_known: Callable[[str], bool], *, required: bool = True) -> None:
        key = self.text(field, required=required)
        if key is not None and not is_known(key):
            self.refuse(field, "unknown")

    def times(self, start_field: str, end_field: str) -> None:
        start, end = self._time(start_field), self._time(end_field)
        if start is not None and end is not None and end <= start:
            self.refuse(end_field, "end_before_start")

    def _time(self, field: str) -> Any:
        text = self.text(field)
        moment = None if text is None else read_time(text)
        if text is not None and moment is None:
            self.refuse(field, "invalid")
        return moment

    def has_any(self, *fields: str) -> bool:
        return any(self._body.get(field) is not None for field in fields)


def check_visit(body: dict[str, Any], fields: VisitFields, known: Known) -> None:
    """Raises FieldsRefusedError with every field that is wrong."""
    check = _Check(body)
    if fields.external_id is not None:
        check.text(fields.external_id)
    check.known(fields.office, known.office)
    check.known(fields.patient, known.patient)
    check.known(fields.practitioner, known.practitioner, required=False)
    check.text("service_code", required=False)
    check.times("start_at", "end_at")
    if check.has_any("actual_start_at", "actual_end_at"):
        check.times("actual_start_at", "actual_end_at")
    status = check.text("status")
    if status is not None and status not in fields.statuses:
        check.refuse("status", "invalid")
    note = check.text("note", required=False)
    if note is not None and len(note) > LONGEST_NOTE:
        check.refuse("note", "too_long")
    if check.errors:
        raise FieldsRefusedError(check.errors)
