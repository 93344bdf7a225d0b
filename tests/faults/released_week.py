"""One organization with a released week of many visits, written through the doors that a product and a planner use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from partner_sync.database import Connection, connect
from partner_sync.delivery.release import release_week
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.weeks import TOKYO, Week

#: Over a year's end; nothing here depends on today.
WEEK = Week(date(2026, 12, 28))
_SLOTS = 7 * 24 * 4


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the database is: ``url`` of a writer ('push'), and the admin's URL, which only looks and arranges."""

    url: Callable[[str], str]
    admin_url: str

    def connect(self, writer: str) -> Connection:
        return connect(self.url(writer))

    def admin(self) -> Connection:
        return connect(self.admin_url)


@dataclass(frozen=True, kw_only=True)
class ReleasedWeek:
    """An organization by its number: its people have ids that follow from it, and keys at every partner."""

    number: int
    partners: tuple[str, ...]
    visits: int
    week: Week = WEEK

    @property
    def organization(self) -> str:
        return f"org-{self.number}"

    @property
    def office(self) -> int:
        return self.number * 100 + 1

    @property
    def patient(self) -> int:
        return self.number * 100 + 2

    def visit_ids(self) -> list[str]:
        return [f"o{self.number}-v{number:05d}" for number in range(self.visits)]

    def row(self, visit_id: str, *, revision: int, status: str = "planned") -> dict[str, Any]:
        """A visit as the product writes it; its note says which revision it is."""
        slot = int(visit_id.rpartition("v")[2]) % _SLOTS
        start = datetime.combine(self.week.monday, time(), TOKYO) + timedelta(minutes=15 * slot)
        return {
            "visit_id": visit_id,
            "revision": revision,
            "organization": self.organization,
            "office_id": self.office,
            "patient_id": self.patient,
            "start_at": start.isoformat(),
            "end_at": (start + timedelta(minutes=15)).isoformat(),
            "status": status,
            "note": f"r{revision}",
        }

    def make(self, place: Place) -> None:
        """Organization, links, people, visits, a finalized and released week."""
        self.plan(place)
        self.release(place, run_key="first")

    def plan(self, place: Place) -> None:
        """Everything but the release."""
        self._introduce(place)
        with place.connect("product") as product:
            for part in _parts(self.visit_ids(), 500):
                apply(product, visits=[self.row(visit_id, revision=1) for visit_id in part])
            state = {"office_id": self.office, "week": self.week.monday.isoformat(), "organization": self.organization}
            apply(product, weeks=[state | {"state": "finalized", "changed_by": "planner-1"}])

    def release(self, place: Place, *, run_key: str, resend: bool = False) -> None:
        with place.connect("release") as release:
            for partner in self.partners:
                release_week(
                    release,
                    partner=partner,
                    organizations=[self.organization],
                    week=self.week,
                    mode="resend" if resend else "changes",
                    requested_by="planner-1",
                    run_key=run_key,
                )

    def _introduce(self, place: Place) -> None:
        with place.connect("onboarding") as onboarding, place.connect("merge") as merge:
            add_organization(onboarding, code=self.organization, name=self.organization)
            for entity, key in (("office", self.office), ("patient", self.patient)):
                merge.execute(
                    f"insert into canonical.{entity} (id, organization) values (%s, %s)", (key, self.organization)
                )
            for partner in self.partners:
                self._join(onboarding, partner)

    def _join(self, onboarding: Connection, partner: str) -> None:
        link = Link(
            partner=partner,
            organization=self.organization,
            connection_id=f"partner_{partner}__{self.organization}",
            directions=("schedule",),
        )
        add_link(onboarding, link)
        for entity, key in (("office", self.office), ("patient", self.patient)):
            onboarding.execute(
                "insert into canonical.key_map (partner, organization, entity, canonical_id, source_key, joined_by)"
                " values (%s, %s, %s, %s, %s, 'person-1')",
                (partner, self.organization, entity, key, f"K-{key}"),
            )


def apply(product: Connection, **document: object) -> None:
    """The product's own door."""
    product.execute("select schedule.apply(%s)", (Jsonb(document),))


def _parts(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
