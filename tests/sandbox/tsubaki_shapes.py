"""How つばきケア writes its records."""

from __future__ import annotations

from datetime import date
from typing import Any

from sandbox.people import Office, Patient, Practitioner

OPEN_END = "99991231"
CARE_LEVELS = {
    "none": "01", "support1": "12", "support2": "13",
    "care1": "21", "care2": "22", "care3": "23", "care4": "24", "care5": "25",
    "unmapped": "99",
}  # fmt: skip
JOBS = {
    "nurse": "11", "care_worker": "21", "physical_therapist": "31",
    "occupational_therapist": "32", "care_manager": "41", "office_worker": "91",
}  # fmt: skip
SEXES = {"male": "1", "female": "2"}
# Era codes of the claims files, newest first, with the first day of each.
ERAS = (
    ("5", date(2019, 5, 1)),
    ("4", date(1989, 1, 8)),
    ("3", date(1926, 12, 25)),
    ("2", date(1912, 7, 30)),
    ("1", date(1868, 1, 25)),
)


def office_key(ordinal: int) -> str:
    return f"{ordinal:02}"


def practitioner_key(ordinal: int) -> str:
    return f"{ordinal:05}"


def patient_key(ordinal: int) -> str:
    return f"{ordinal:010}"


def ordinal_of(key: str) -> int:
    """The ordinal in a key; 0, which nobody has, for what is no key."""
    return int(key) if key.isascii() and key.isdecimal() else 0


def era_date(day: date) -> str:
    """Era code, year, month, day in seven digits."""
    code, first = next((code, first) for code, first in ERAS if day >= first)
    return f"{code}{day.year - first.year + 1:02}{day.month:02}{day.day:02}"


def office(record: Office) -> dict[str, Any]:
    return {
        "facility_code": office_key(record.ordinal),
        "jigyosho_no": record.number,
        "name": record.name,
        "name_kana": record.kana,
        "zip": record.postal_code,
        "address": record.address,
        "tel": record.phone.replace("-", ""),
        "in_use": "1",
        "updated_at": record.updated_at.isoformat(),
    }


def practitioner(record: Practitioner) -> dict[str, Any]:
    return {
        "staff_no": practitioner_key(record.ordinal),
        "facility_code": office_key(record.office),
        "full_name": f"{record.family_name}　{record.given_name}",
        "full_name_kana": f"{record.family_kana}　{record.given_kana}",
        "job": JOBS[record.role],
        "license_no": record.license_number or "",
        "joined_on": f"{record.valid_from:%Y%m%d}",
        "left_on": f"{record.valid_to:%Y%m%d}" if record.valid_to else "",
        "in_use": "1" if record.valid_to is None else "0",
        "updated_at": record.updated_at.isoformat(),
    }


def patient(record: Patient) -> dict[str, Any]:
    return {
        "user_no": patient_key(record.ordinal),
        "facility_code": office_key(record.office),
        "full_name": f"{record.family_name}　{record.given_name}",
        "full_name_kana": f"{record.family_kana}　{record.given_kana}",
        "birthday": era_date(record.birth_date),
        "sex": SEXES[record.gender],
        "zip": record.postal_code,
        "pref": record.prefecture,
        "city": record.city,
        "street": record.street,
        "tel": record.phone.replace("-", ""),
        "care_level": CARE_LEVELS[record.care_level],
        "insurer_no": record.insurer_number,
        "insured_no": record.insured_number,
        "start_on": f"{record.valid_from:%Y%m%d}",
        "end_on": f"{record.valid_to:%Y%m%d}" if record.valid_to else OPEN_END,
        "in_use": "1",
        "blood_type": record.blood_type,
        "updated_at": record.updated_at.isoformat(),
    }
