"""How ほのか記録 writes its records."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sandbox.people import Office, Patient, Practitioner

CARE_LEVELS = {
    "none": "非該当", "support1": "要支援1", "support2": "要支援2",
    "care1": "要介護1", "care2": "要介護2", "care3": "要介護3", "care4": "要介護4", "care5": "要介護5",
    "unmapped": "要介護9",
}  # fmt: skip


def office_key(ordinal: int) -> str:
    return f"O-{ordinal:03}"


def practitioner_key(ordinal: int) -> str:
    return f"S-{ordinal:04}"


def patient_key(ordinal: int) -> str:
    return f"P-{ordinal:06}"


def ordinal_of(key: str) -> int:
    """The ordinal in a key; 0, which nobody has, for what is no key."""
    digits = key[2:]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def office(record: Office) -> dict[str, Any]:
    return {
        "id": office_key(record.ordinal),
        "number": record.number,
        "name": record.name,
        "kana": record.kana,
        "postal_code": _postal_code(record.postal_code),
        "address": record.address,
        "phone": record.phone,
        "active": True,
        "updated_at": record.updated_at.isoformat(),
    }


def practitioner(record: Practitioner) -> dict[str, Any]:
    return {
        "id": practitioner_key(record.ordinal),
        "office_id": office_key(record.office),
        "name": {"family": record.family_name, "given": record.given_name},
        "kana": {"family": record.family_kana, "given": record.given_kana},
        "role": record.role,
        "license_number": record.license_number,
        "valid_from": record.valid_from.isoformat(),
        "valid_to": record.valid_to.isoformat() if record.valid_to else None,
        "active": record.valid_to is None,
        "updated_at": record.updated_at.isoformat(),
    }


def patient(record: Patient) -> dict[str, Any]:
    return {
        "id": patient_key(record.ordinal),
        "office_id": office_key(record.office),
        "name": {"family": record.family_name, "given": record.given_name},
        "kana": {"family": record.family_kana, "given": record.given_kana},
        "birth": record.birth_date.isoformat(),
        "sex": record.gender,
        "address": {
            "postal_code": _postal_code(record.postal_code),
            "prefecture": record.prefecture,
            "city": record.city,
            "street": record.street,
        },
        "phone": record.phone,
        "care": {
            "level": CARE_LEVELS[record.care_level],
            "insurer_number": record.insurer_number,
            "insured_number": record.insured_number,
        },
        "valid_from": record.valid_from.isoformat(),
        "valid_to": record.valid_to.isoformat() if record.valid_to else None,
        "active": True,
        "blood_type": record.blood_type,
        "updated_at": record.updated_at.isoformat(),
    }


def tombstone(ordinal: int, at: datetime) -> dict[str, Any]:
    return {"id": patient_key(ordinal), "deleted": True, "updated_at": at.isoformat()}


def _postal_code(digits: str) -> str:
    return f"{digits[:3]}-{digits[3:]}"
