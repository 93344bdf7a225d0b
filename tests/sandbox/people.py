"""People and places made by Faker with a seed, in a form that no maker uses; the profiles render it.

The same organization and seed give the same people at every partner, as in life: only the keys differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from functools import cache
from random import Random

from faker import Faker

from sandbox.check_digits import with_check_digit

TOKYO = timezone(timedelta(hours=9))
# Long past, so that every record is older than any run of the demo.
FIRST_UPDATE_AT = datetime(2025, 4, 1, 9, 0, tzinfo=TOKYO)
ROLES = ("nurse", "care_worker", "physical_therapist", "occupational_therapist", "care_manager", "office_worker")
CARE_LEVELS = ("none", "support1", "support2", "care1", "care2", "care3", "care4", "care5")
BLOOD_TYPES = ("A", "O", "B", "AB")
PREFECTURES = (("13", "東京都", "03"), ("14", "神奈川県", "045"), ("11", "埼玉県", "048"), ("27", "大阪府", "06"))


@dataclass(frozen=True, kw_only=True)
class Office:
    """One place; ``ordinal`` from 1 becomes each maker's key."""

    ordinal: int
    number: str
    name: str
    kana: str
    postal_code: str
    address: str
    phone: str
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class _Person:
    """What is known of everybody; ``office`` is an office's ordinal."""

    ordinal: int
    office: int
    family_name: str
    given_name: str
    family_kana: str
    given_kana: str
    valid_from: date
    valid_to: date | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Practitioner(_Person):
    """One member of staff."""

    role: str
    license_number: str | None


@dataclass(frozen=True, kw_only=True)
class Patient(_Person):
    """One patient."""

    birth_date: date
    gender: str
    postal_code: str
    prefecture: str
    city: str
    street: str
    phone: str
    care_level: str
    insurer_number: str
    insured_number: str
    blood_type: str


@dataclass(frozen=True)
class _Names:
    families: tuple[tuple[str, str], ...]
    males: tuple[tuple[str, str], ...]
    females: tuple[tuple[str, str], ...]
    cities: tuple[str, ...]
    towns: tuple[str, ...]


@cache
def _names(seed: int) -> _Names:
    """Pools drawn from Faker once a seed: drawing each person's parts from Faker anew costs ten times as much."""
    faker = Faker("ja_JP")
    faker.seed_instance(seed)
    return _Names(
        families=tuple(faker.last_name_pair()[:2] for _ in range(120)),
        males=tuple(faker.first_name_male_pair()[:2] for _ in range(60)),
        females=tuple(faker.first_name_female_pair()[:2] for _ in range(60)),
        cities=tuple(faker.city() for _ in range(40)),
        towns=tuple(faker.town() for _ in range(60)),
    )


class Population:
    """Makes one organization's people; every record depends on seed, organization and its own ordinal only."""

    def __init__(self, seed: int, organization: str, office_count: int) -> None:
        self._seed = seed
        self._organization = organization
        self._office_count = office_count
        self._names = _names(seed)
        self._home = Random(f"{seed}/{organization}").choice(PREFECTURES)

    def _random(self, kind: str, ordinal: int) -> Random:
        return Random(f"{self._seed}/{self._organization}/{kind}/{ordinal}")

    def office(self, ordinal: int) -> Office:
        draw = self._random("office", ordinal)
        town = draw.choice(self._names.towns)
        family, family_kana = draw.choice(self._names.families)
        return Office(
            ordinal=ordinal,
            number=with_check_digit(f"{self._home[0]}7{draw.randrange(100):02}{draw.randrange(10_000):04}"),
            name=f"{family}訪問介護ステーション",
            kana=f"{family_kana}ホウモンカイゴステーション",
            postal_code=_postal_code(draw),
            address=f"{self._home[1]}{draw.choice(self._names.cities)}{town}{_block(draw)}",
            phone=_phone(draw, self._home[2]),
            updated_at=_updated_at(draw),
        )

    def practitioner(self, ordinal: int) -> Practitioner:
        draw = self._random("practitioner", ordinal)
        family, given = self._name(draw, male=draw.random() < 0.3)
        role = draw.choice(ROLES)
        left = draw.random() < 0.05
        return Practitioner(
            ordinal=ordinal,
            family_name=family[0],
            given_name=given[0],
            family_kana=family[1],
            given_kana=given[1],
            role=role,
            license_number=None if role == "office_worker" else f"{draw.randrange(10**7):07}{ordinal % 1000:03}",
            valid_from=date(2015, 4, 1) + timedelta(days=draw.randrange(3000)),
            valid_to=date(2025, 3, 31) if left else None,
            updated_at=_updated_at(draw),
            # Drawn last: another number of offices must not make other people.
            office=draw.randint(1, self._office_count),
        )

    def patient(self, ordinal: int) -> Patient:
        draw = self._random("patient", ordinal)
        male = draw.random() < 0.4
        family, given = self._name(draw, male=male)
        return Patient(
            ordinal=ordinal,
            family_name=family[0],
            given_name=given[0],
            family_kana=family[1],
            given_kana=given[1],
            birth_date=date(1928, 1, 1) + timedelta(days=draw.randrange(12_000)),
            gender="male" if male else "female",
            postal_code=_postal_code(draw),
            prefecture=self._home[1],
            city=draw.choice(self._names.cities),
            street=draw.choice(self._names.towns) + _block(draw),
            phone=_phone(draw, self._home[2]),
            care_level=draw.choice(CARE_LEVELS),
            insurer_number=with_check_digit(f"{self._home[0]}{draw.randrange(1000):03}"),
            insured_number=f"{draw.randrange(10**5):05}{ordinal % 100_000:05}",
            valid_from=date(2020, 4, 1) + timedelta(days=draw.randrange(1500)),
            valid_to=None,
            blood_type=draw.choice(BLOOD_TYPES),
            updated_at=_updated_at(draw),
            # Drawn last: another number of offices must not make other people.
            office=draw.randint(1, self._office_count),
        )

    def new_home(self, ordinal: int, token: str) -> tuple[str, str]:
        """Another street and phone for a patient; the same token gives the same ones."""
        draw = Random(f"{self._seed}/{self._organization}/{ordinal}/{token}")
        return draw.choice(self._names.towns) + _block(draw) + "　転居先", _phone(draw, self._home[2])

    def twin(self, patient: Patient) -> Patient:
        """The same patient with another street and phone, as a duplicate key carries."""
        street, phone = self.new_home(patient.ordinal, "twin")
        return replace(patient, street=street, phone=phone)

    def _name(self, draw: Random, *, male: bool) -> tuple[tuple[str, str], tuple[str, str]]:
        return draw.choice(self._names.families), draw.choice(self._names.males if male else self._names.females)


def _postal_code(draw: Random) -> str:
    return f"{draw.randrange(100, 1000)}{draw.randrange(10_000):04}"


def _block(draw: Random) -> str:
    return f"{draw.randint(1, 9)}-{draw.randint(1, 30)}-{draw.randint(1, 20)}"


def _phone(draw: Random, area: str) -> str:
    """Ten digits in three groups, whatever the length of the area code."""
    middle = f"{draw.randrange(1000, 10_000)}" if len(area) == 2 else f"{draw.randrange(100, 1000)}"
    return f"{area}-{middle}-{draw.randrange(10_000):04}"


def _updated_at(draw: Random) -> datetime:
    return FIRST_UPDATE_AT + timedelta(minutes=draw.randrange(300 * 24 * 60))
