"""About two percent of the patients spoilt on purpose, in six kinds whose numbers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, get_args

import jaconv

from sandbox.check_digits import with_wrong_check_digit
from sandbox.people import Patient

DirtKind = Literal[
    "duplicate_key", "future_birth", "half_width_kana", "wrong_check_digit", "unmapped_care_level", "unknown_office"
]
KINDS: tuple[DirtKind, ...] = get_args(DirtKind)
UNKNOWN_OFFICE = 99
UNMAPPED_CARE_LEVEL = "unmapped"

_SPOIL: dict[DirtKind, Callable[[Patient], Patient]] = {
    "future_birth": lambda patient: replace(patient, birth_date=patient.birth_date.replace(year=2093, day=1)),
    "half_width_kana": lambda patient: replace(patient, family_kana=jaconv.z2h(patient.family_kana, kana=True)),
    "wrong_check_digit": lambda patient: replace(
        patient, insurer_number=with_wrong_check_digit(patient.insurer_number)
    ),
    "unmapped_care_level": lambda patient: replace(patient, care_level=UNMAPPED_CARE_LEVEL),
    "unknown_office": lambda patient: replace(patient, office=UNKNOWN_OFFICE),
}


@dataclass(frozen=True)
class Dirt:
    """Which ordinals are spoilt how."""

    by_ordinal: dict[int, DirtKind]

    def ordinals(self, kind: DirtKind) -> list[int]:
        return sorted(ordinal for ordinal, its_kind in self.by_ordinal.items() if its_kind == kind)


def plan_dirt(draw: Random, *, patients: int, share: float, first_kind: int) -> Dirt:
    """Choose which patients are spoilt; the kinds go round, beginning with ``first_kind``."""
    chosen = sorted(draw.sample(range(1, patients + 1), dirty_count(patients, share)))
    return Dirt({ordinal: KINDS[(first_kind + turn) % len(KINDS)] for turn, ordinal in enumerate(chosen)})


def dirty_count(patients: int, share: float) -> int:
    return round(patients * share)


def spoilt(patient: Patient, kind: DirtKind, *, twin: Callable[[Patient], Patient]) -> list[Patient]:
    """The records listed in place of a clean one; ``twin`` gives the second record of a duplicate key."""
    if kind == "duplicate_key":
        return [patient, twin(patient)]
    return [_SPOIL[kind](patient)]
