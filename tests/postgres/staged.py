"""Staging slices as extract leaves them, for tests of the validation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

from psycopg import sql

from partner_sync.database import Connection
from partner_sync.partners.fields import Entity
from partner_sync.quality.validate import EntityQuality, validate_run
from postgres_server import Database

PARTNER = "honoka"
FILE_PARTNER = "careplan"

GOOD: dict[str, dict[str, Any]] = {
    "office": {
        "source_key": "f1",
        "office_number": "2875104529",
        "name": "ひまわり訪問介護",
        "kana": "ヒマワリホウモンカイゴ",
        "postal_code": "1130021",
        "address": "東京都文京区",
        "phone": "03-1234-5678",
    },
    "practitioner": {
        "source_key": "s1",
        "office_key": "f1",
        "family_name": "佐藤",
        "given_name": "花子",
        "family_kana": "サトウ",
        "given_kana": "ハナコ",
        "role": "nurse",
        "valid_from": date(2020, 4, 1),
    },
    "patient": {
        "source_key": "p1",
        "office_key": "f1",
        "family_name": "山田",
        "given_name": "太郎",
        "family_kana": "ヤマダ",
        "given_kana": "タロウ",
        "birth_date": date(1940, 2, 29),
        "gender": "male",
        "postal_code": "1130021",
        "city": "文京区",
        "phone": "0312345678",
        "insurer_number": "138057",
        "insured_number": "0123456789",
        "care_level": "care_1",
        "valid_from": date(2020, 4, 1),
    },
}


def good(entity: Entity, key: str | None) -> dict[str, Any]:
    """A record without a fault; each patient has an insured number of their own."""
    own = {"insured_number": f"{crc32(key.encode()):010}"} if entity == "patient" and key else {}
    return GOOD[entity] | own


@dataclass
class Staged:
    """Writes slices as ``sync_extract`` and validates them as ``sync_validate``."""

    database: Database
    partners: set[str] = field(default_factory=set)

    @cached_property
    def extracting(self) -> Connection:
        return self.database.connect("extract")

    def slice(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        entity: Entity = "patient",
        organization: str = "aoba",
        run_key: str = "run-1",
        state: str = "complete",
        mode: str = "full",
    ) -> None:
        """One slice: each row is the good record with these values changed; older rows of the entity go, as in life."""
        if not self.partners:
            self.database.connect("onboarding").execute("select staging.ensure_partition(%s)", [PARTNER])
            self.partners.add(PARTNER)
        extract = self.extracting
        extract.execute(
            sql.SQL("delete from staging.{} where organization = %s").format(sql.Identifier(entity)), [organization]
        )
        extract.execute(
            "insert into staging.slice (partner, organization, entity, run_key, mode, state)"
            " values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            [PARTNER, organization, entity, run_key, mode, state],
        )
        with extract.cursor() as cursor:
            for row in rows:
                whole = good(entity, row.get("source_key")) | dict(row)
                values = {"partner": PARTNER, "organization": organization, "run_key": run_key, "page": 1} | whole
                values.setdefault("raw", json.dumps(whole, default=str))
                cursor.execute(
                    sql.SQL("insert into {} ({}) values ({})").format(
                        sql.Identifier("staging", entity),
                        sql.SQL(", ").join(map(sql.Identifier, values)),
                        sql.SQL(", ").join(sql.Placeholder() * len(values)),
                    ),
                    list(values.values()),
                )

    def known_office(self, key: str = "f1", *, organization: str = "aoba") -> None:
        """An office that an earlier run has merged."""
        merge = self.database.connect("merge")
        merge.execute(
            "insert into canonical.office (id, organization) values (nextval('canonical.id_seq'), %s)", [organization]
        )
        merge.execute(
            "insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered,"
            " first_run_key) values (%s, %s, 'office', %s, currval('canonical.id_seq'), true, 'before')",
            [PARTNER, organization, key],
        )

    def goes_to_files(
        self, organization: str = "aoba", *, enabled: bool = True, directions: Iterable[str] = ("schedule",)
    ) -> None:
        """The organization's link to a partner that can hold CP932 only."""
        onboarding = self.database.connect("onboarding")
        onboarding.execute(
            "insert into sync.organization (code, name) values (%s, 'Test') on conflict do nothing", [organization]
        )
        onboarding.execute(
            "insert into sync.link (partner, organization, connection_id, directions, enabled)"
            " values (%s, %s, 'none', %s, %s)",
            [FILE_PARTNER, organization, list(directions), enabled],
        )

    def merged(self, run_key: str, *, entity: Entity = "patient", organization: str = "aoba") -> None:
        """The run's slice has been merged."""
        self.database.connect("merge").execute(
            "insert into canonical.slice_merge (partner, organization, entity, run_key, state, inserted, updated,"
            " unchanged, tombstoned) values (%s, %s, %s, %s, 'merged', 0, 0, 0, 0)",
            [PARTNER, organization, entity, run_key],
        )

    def validate(
        self,
        run_key: str = "run-1",
        *,
        organizations: Iterable[str] = ("aoba",),
        entities: Iterable[Entity] = ("patient",),
        docs_folder: Path | None = None,
    ) -> tuple[EntityQuality, ...]:
        return validate_run(
            self.database.connect("validate"),
            partner=PARTNER,
            run_key=run_key,
            organizations=organizations,
            entities=entities,
            cp932_partners=[FILE_PARTNER],
            docs_folder=docs_folder,
        )

    def accepted(self, run_key: str = "run-1", *, entity: Entity = "patient", organization: str = "aoba") -> list[str]:
        """The keys that merge would take."""
        rows = self.database.connect("merge").execute(
            sql.SQL(
                "select source_key from {} where (partner, organization, run_key) = (%s, %s, %s) order by source_key"
            ).format(sql.Identifier("quality", f"accepted_{entity}")),
            [PARTNER, organization, run_key],
        )
        return [row["source_key"] for row in rows]

    def failing(self, expectation: str) -> set[str]:
        """The keys that fail an expectation now."""
        rows = self.database.connect("validate").execute(
            "select source_key from quarantine.failing_key where expectation = %s", [expectation]
        )
        return {row["source_key"] for row in rows}

    def quarantine(self, where: str = "true") -> list[dict[str, Any]]:
        query = sql.SQL("select * from quarantine.row where {} order by id").format(sql.SQL(where))  # type: ignore[arg-type]  # written in the tests, no input
        return self.database.connect("validate").execute(query).fetchall()

    def reasons(self, key: str) -> set[str]:
        """Why a key waits: codes of expectations."""
        return {
            reason["expectation"]
            for row in self.quarantine("status = 'open'")
            if row["source_key"] == key
            for reason in row["reasons"]
        }
