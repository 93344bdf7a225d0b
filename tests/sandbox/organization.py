"""One organization at the partner: its people, made when first asked for, and what was changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from random import Random

from sandbox.dirt import UNKNOWN_OFFICE, Dirt, DirtKind, dirty_count, plan_dirt, spoilt
from sandbox.people import Office, Patient, Population, Practitioner
from sandbox.settings import Settings


class Organization:
    """The records of one organization; only patients (and one late office) ever change."""

    def __init__(self, settings: Settings, name: str, *, salt: str) -> None:
        turn = settings.organizations.index(name)
        count = dirty_count(settings.patients, settings.dirty_share)
        self.name = name
        self.office_count = settings.offices or Random(f"{settings.seed}/{name}/offices").randint(2, 3)
        self._population = Population(settings.seed, name, self.office_count)
        self.offices: list[Office] = [self._population.office(n + 1) for n in range(self.office_count)]
        self.practitioners: list[Practitioner] = [
            self._population.practitioner(n + 1) for n in range(settings.practitioners)
        ]
        self.dirt: Dirt = plan_dirt(
            Random(f"{settings.seed}/{salt}/{name}/dirt"),
            patients=settings.patients,
            share=settings.dirty_share,
            first_kind=turn * count,
        )
        self._patients: dict[int, Patient] = {n + 1: self._population.patient(n + 1) for n in range(settings.patients)}
        self.deleted: dict[int, datetime] = {}

    def patients(self) -> list[Patient]:
        """The records that are listed, in the order of the key, dirt and all, without the deleted."""
        records: list[Patient] = []
        for ordinal, patient in self._patients.items():
            if ordinal not in self.deleted:
                records.extend(self._listed(patient))
        return records

    def patient(self, ordinal: int) -> Patient | None:
        """The record that an own key names; None when it is unknown or deleted."""
        if ordinal in self.deleted or ordinal not in self._patients:
            return None
        return self._listed(self._patients[ordinal])[0]

    def has_office(self, ordinal: int) -> bool:
        return any(office.ordinal == ordinal for office in self.offices)

    def has_practitioner(self, ordinal: int) -> bool:
        return 1 <= ordinal <= len(self.practitioners)

    def clean_ordinals(self) -> list[int]:
        """Patients that are neither deleted nor dirty."""
        return [n for n in self._patients if n not in self.deleted and n not in self.dirt.by_ordinal]

    def dirty_ordinals(self, kind: DirtKind) -> list[int]:
        """Dirty patients of a kind that are still there."""
        return [n for n in self.dirt.ordinals(kind) if n not in self.deleted]

    def change(self, ordinals: Sequence[int], at: datetime) -> None:
        """Move these patients house at a moment; the same moment gives the same streets."""
        for ordinal in ordinals:
            street, phone = self._population.new_home(ordinal, at.isoformat())
            self._patients[ordinal] = replace(self._patients[ordinal], street=street, phone=phone, updated_at=at)

    def delete(self, ordinals: Sequence[int], at: datetime) -> None:
        self.deleted.update(dict.fromkeys(ordinals, at))

    def add_late_office(self, at: datetime) -> None:
        """The office that the dirty patients name comes after all; a second time changes nothing."""
        if not self.has_office(UNKNOWN_OFFICE):
            self.offices.append(replace(self._population.office(UNKNOWN_OFFICE), updated_at=at))

    def knows(self, ordinal: int) -> bool:
        return ordinal in self._patients

    def _listed(self, patient: Patient) -> list[Patient]:
        kind = self.dirt.by_ordinal.get(patient.ordinal)
        return [patient] if kind is None else spoilt(patient, kind, twin=self._population.twin)
