"""The scheduling product as the tests need it: visits and closed weeks, written through its own door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from psycopg.types.json import Jsonb

from partner_sync.database import Connection
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.weeks import Week
from postgres_server import Database

WEEK = Week(date(2026, 11, 23))
PARTNER = "honoka"


@dataclass(frozen=True)
class Product:
    """One organization with two offices, three patients and one practitioner, known to a partner by keys of its own."""

    database: Database
    product: Connection
    organization: str = "sakura"
    office: int = 1
    patient: int = 11
    practitioner: int = 21

    def visit(self, visit_id: str, *, day: date = WEEK.monday, revision: int = 1, **changes: object) -> None:
        """Write a visit of an hour on that day; a second call with a higher revision changes it."""
        start = datetime(day.year, day.month, day.day, 1, tzinfo=UTC)
        row = {
            "visit_id": visit_id,
            "revision": revision,
            "organization": self.organization,
            "office_id": self.office,
            "patient_id": self.patient,
            "practitioner_id": self.practitioner,
            "start_at": start.isoformat(),
            "end_at": (start + timedelta(hours=1)).isoformat(),
        } | changes
        self.apply(visits=[row])

    def week(self, state: str, *, week: Week = WEEK, office: int | None = None) -> None:
        row = {
            "office_id": office or self.office,
            "week": week.monday.isoformat(),
            "organization": self.organization,
            "state": state,
            "changed_by": "planner-1",
        }
        self.apply(weeks=[row])

    def closed_week(self, *visit_ids: str) -> None:
        """Write these visits of the week, which its planner then finalizes."""
        for visit_id in visit_ids:
            self.visit(visit_id)
        self.week("finalized")

    def apply(self, **document: object) -> None:
        self.product.execute("select schedule.apply(%s)", (Jsonb(document),))


def make_product(database: Database, *, organization: str = "sakura", base: int = 0, mode: str = "manual") -> Product:
    """An organization with people whose ids start at ``base``, linked to the partner for schedules."""
    onboarding = database.connect("onboarding")
    add_organization(onboarding, code=organization, name=organization)
    link = Link(
        partner=PARTNER,
        organization=organization,
        connection_id=f"partner_{PARTNER}__{organization}",
        directions=("master", "schedule"),
        master_of=("office", "practitioner", "patient"),
        release_mode=mode,  # type: ignore[arg-type]  # a plain str in tests
    )
    add_link(onboarding, link)
    merge = database.connect("merge")
    ids = {"office": [base + 1, base + 2], "patient": [base + 11, base + 12, base + 13], "practitioner": [base + 21]}
    for entity, keys in ids.items():
        for key in keys:
            merge.execute(f"insert into canonical.{entity} (id, organization) values (%s, %s)", (key, organization))
            merge.execute(
                "insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered,"
                " first_run_key) values (%s, %s, %s, %s, %s, true, 'first')",
                (PARTNER, organization, entity, f"{entity[0].upper()}-{key}", key),
            )
    return Product(database, database.connect("product"), organization, base + 1, base + 11, base + 21)
