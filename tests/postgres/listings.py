"""A partner whose pages a test writes by hand, and the three steps of a master sync on the test's database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from partner_sync.kinds.interface import Accepted, Capabilities, Page, Presence, VisitCall
from partner_sync.links import Link
from partner_sync.master.extract import extract_slice
from partner_sync.master.guard import Guard, MergeCounts
from partner_sync.master.merge import merge_slice
from partner_sync.master.slices import Mode, SliceCounts, SliceKey
from partner_sync.onboarding import add_link, add_organization
from partner_sync.partners.fields import Entity
from partner_sync.partners.loader import load_partner
from partner_sync.partners.mapping import compile_entity
from partner_sync.partners.model import Partner
from postgres_server import Database

PARTNERS = Path(__file__).resolve().parents[2] / "include" / "partners"
UNGUARDED = Guard(changed_share=1, removed_share=1)


def patient(key: Any, family: Any = "山田", **changes: Any) -> dict[str, Any]:
    """A record as honoka writes it."""
    record = {
        "id": key,
        "name": {"family": family, "given": "花子"},
        "kana": {"family": "ヤマダ", "given": "ハナコ"},
        "birth": "1938-04-05",
        "sex": "female",
        "care": {"level": "要介護1", "insured_number": f"{key}-number"},
        "valid_from": "2024-04-01",
        "active": True,
        "updated_at": "2026-01-01T09:00:00+09:00",
    }
    return record | changes


def office(key: str, name: str = "本駒込") -> dict[str, Any]:
    return {"id": key, "number": "1370000001", "name": name, "active": True, "updated_at": "2026-01-01T09:00:00+09:00"}


@dataclass
class ListedPartner:
    """Lists what ``pages`` holds. ``breaks`` raises the error in place of a page (counted from 1), once."""

    pages_of: Sequence[Sequence[object]]
    total: int | None = None
    breaks: dict[int, Exception] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    since: list[datetime | None] = field(default_factory=list)
    can: Capabilities = field(default_factory=lambda: Capabilities(incremental=True, deletes=True))

    def pages(
        self, entity: str, *, since: datetime | None = None, position: Mapping[str, Any] | None = None
    ) -> Iterator[Page]:
        self.since.append(since)
        for number in range(position["page"] if position else 1, len(self.pages_of) + 1):
            if number in self.breaks:
                raise self.breaks.pop(number)
            self.asked.append(number)
            following = {"page": number + 1} if number < len(self.pages_of) else None
            yield Page(number=number, records=self.pages_of[number - 1], next_position=following, total=self.total)

    def send(self, call: VisitCall) -> Accepted:
        raise NotImplementedError

    def read_back(self, call: VisitCall) -> Presence:
        raise NotImplementedError

    def request_body(self, call: VisitCall) -> Mapping[str, object]:
        raise NotImplementedError

    def close(self) -> None:
        pass


class MasterBed:
    """An organization at a partner, and the steps of its syncs. Validation is stood in for by the mapper's problems."""

    def __init__(self, database: Database, *, partner: str = "honoka", organization: str = "sakura-care") -> None:
        loaded = load_partner(PARTNERS / f"{partner}.yaml")
        assert isinstance(loaded, Partner)
        self.partner = loaded
        self.database = database
        self.organization = organization
        onboarding = database.connect("onboarding")
        add_organization(onboarding, code=organization, name=organization)
        link = Link(partner=partner, organization=organization, connection_id="none", directions=("master",))
        add_link(onboarding, link)
        self.extracting = database.connect("extract")
        self.validating = database.connect("validate")
        self.merging = database.connect("merge")
        self.looking = database.admin()

    def another(self, organization: str) -> MasterBed:
        """One more organization at the same partner, over the same connections."""
        made = copy(self)
        made.organization = organization
        self.looking.execute("insert into sync.organization values (%s, %s)", [organization, organization])
        return made

    def key(self, run_key: str, entity: Entity = "patient") -> SliceKey:
        return SliceKey(partner=self.partner.slug, organization=self.organization, entity=entity, run_key=run_key)

    def extract(
        self,
        run_key: str,
        kind: Any,
        *,
        entity: Entity = "patient",
        mode: Mode = "full",
        since_at: datetime | None = None,
    ) -> SliceCounts:
        mapper = compile_entity(self.partner, entity)
        key = self.key(run_key, entity)
        return extract_slice(self.extracting, key, kind=kind, mapper=mapper, mode=mode, since_at=since_at)

    def judge(self, run_key: str, entity: Entity = "patient") -> None:
        """Leave out what the mapper found critical, and keys that the slice holds twice."""
        parameters = self.key(run_key, entity).as_parameters()
        where = "partner = %(partner)s and organization = %(organization)s and run_key = %(run_key)s"
        with self.validating.transaction():
            self.validating.execute(
                f"insert into quality.run (partner, organization, entity, run_key, evaluated, quarantined, returned,"
                f" waiting, last_row_id)"
                f" select %(partner)s::text, %(organization)s::text, %(entity)s, %(run_key)s::text, 0,"
                f" 0, 0, 0, coalesce(max(row_id), 0) from staging.{entity} where {where} on conflict do nothing",
                parameters,
            )
            self.validating.execute(
                f"insert into quality.left_out select partner, organization, %(entity)s, run_key, row_id"
                f" from staging.{entity} where {where} and (critical_problem is not null or source_key in ("
                f" select source_key from staging.{entity} where {where} group by 1 having count(*) > 1))"
                f" on conflict do nothing",
                parameters,
            )

    def merge(self, run_key: str, *, entity: Entity = "patient", mastered: bool = True, **values: Any) -> MergeCounts:
        values = {"guard": UNGUARDED} | values
        return merge_slice(self.merging, self.key(run_key, entity), mastered=mastered, **values)

    def sync(
        self, run_key: str, *pages: Sequence[object], entity: Entity = "patient", mode: Mode = "full", **values: Any
    ) -> MergeCounts:
        """One whole sync of these pages."""
        self.extract(run_key, ListedPartner(pages), entity=entity, mode=mode)
        self.judge(run_key, entity)
        return self.merge(run_key, entity=entity, **values)

    def staged(self, entity: Entity = "patient") -> list[dict[str, Any]]:
        return self.rows(f"select * from staging.{entity} where organization = %s order by row_id", self.organization)

    def canonical(self, entity: Entity = "patient") -> dict[str, dict[str, Any]]:
        """The canonical rows by the partner's key."""
        found = self.rows(
            f"select x.source_key, c.* from canonical.{entity} c join canonical.crosswalk x on x.canonical_id = c.id"
            f" and x.entity = %s and x.partner = %s where c.organization = %s",
            entity,
            self.partner.slug,
            self.organization,
        )
        return {row["source_key"]: row for row in found}

    def watermark(self) -> datetime | None:
        found = self.rows("select source_at from canonical.watermark where organization = %s", self.organization)
        return found[0]["source_at"] if found else None

    def rows(self, query: Any, *values: Any) -> list[dict[str, Any]]:
        return self.looking.execute(query, values).fetchall()
