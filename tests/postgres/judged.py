"""Whole syncs with a real judgement in between, and visits of the product beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from partner_sync.links import Link
from partner_sync.master.extract import extract_slice
from partner_sync.master.guard import Guard, MergeCounts
from partner_sync.master.merge import merge_slice
from partner_sync.master.slices import Mode, SliceCounts, Terms
from partner_sync.onboarding import add_link
from partner_sync.partners.fields import Entity
from partner_sync.partners.mapping import compile_entity
from partner_sync.quality.validate import validate_run
from postgres.listings import UNGUARDED, ListedPartner, MasterBed, patient
from postgres_server import Database

HOUR = timedelta(hours=1)


def patients(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [patient(f"P-{n}", **changes) for n in range(count)]


def staff(key: str, **changes: Any) -> dict[str, Any]:
    return {"id": key, "name": {"family": "鈴木", "given": "一郎"}, "role": "nurse", "active": True} | changes


class JudgedBed(MasterBed):
    """The partner masters patients and practitioners of one organization, which has an office."""

    def __init__(self, database: Database, *, master_of: Sequence[Entity] = ("patient", "practitioner")) -> None:
        super().__init__(database)
        link = Link(
            partner="honoka", organization=self.organization, connection_id="none", directions=("master",),
            master_of=tuple(master_of),
        )  # fmt: skip
        add_link(database.connect("onboarding"), link)
        self.looking.execute("insert into canonical.office (id, organization) values (1, %s)", [self.organization])

    def read(
        self,
        run_key: str,
        records: Sequence[object],
        *,
        entity: Entity = "patient",
        mode: Mode = "full",
        total: int | None = None,
        terms: Terms | None = None,
    ) -> SliceCounts:
        """Extract one page. An incremental listing starts in 2020."""
        since_at = datetime(2020, 1, 1, tzinfo=UTC) if mode == "incremental" else None
        return extract_slice(
            self.extracting, self.key(run_key, entity), kind=ListedPartner([records], total=total),
            mapper=compile_entity(self.partner, entity), mode=mode, since_at=since_at, terms=terms,
        )  # fmt: skip

    def validate(self, run_key: str, *entities: Entity) -> None:
        validate_run(
            self.validating, partner="honoka", run_key=run_key, organizations=[self.organization],
            entities=entities or ("patient",),
        )  # fmt: skip

    def judge_of(self, run_key: str, records: Sequence[object], **values: Any) -> dict[str, int]:
        """Extract and validate; returns what failed."""
        self.read(run_key, records, **values)
        self.validate(run_key, values.get("entity", "patient"))
        return self.failed(run_key, values.get("entity", "patient"))

    def whole(self, run_key: str, records: Sequence[object], *, guard: Guard = UNGUARDED, **values: Any) -> MergeCounts:
        """Extract, validate and merge."""
        self.judge_of(run_key, records, **values)
        key = self.key(run_key, values.get("entity", "patient"))
        return merge_slice(self.merging, key, mastered=True, guard=guard)

    def results(self, run_key: str, entity: str = "patient") -> Mapping[str, tuple[int, int]]:
        """Expectation: values judged, failed."""
        query = "select expectation, evaluated, failed from quality.result where run_key = %s and entity = %s"
        rows = self.rows(query, run_key, entity)
        return {row["expectation"]: (row["evaluated"], row["failed"]) for row in rows}

    def failed(self, run_key: str, entity: str = "patient") -> dict[str, int]:
        """Failing checks across runs or entities, with how many failed."""
        found = self.results(run_key, entity).items()
        return {code: failed for code, (_, failed) in found if failed and code.startswith(("slice_", "visit_"))}

    def id_of(self, key: str, entity: Entity = "patient") -> int:
        return int(self.canonical(entity)[key]["id"])

    def visit(self, visit_id: str, patient_key: str, practitioner_key: str | None = None, **changes: Any) -> None:
        """A visit of an hour, a day from now."""
        start = changes.pop("start_at", datetime.now(UTC) + 24 * HOUR)
        row = {
            "visit_id": visit_id,
            "revision": 1,
            "organization": self.organization,
            "office_id": 1,
            "patient_id": self.id_of(patient_key),
            "practitioner_id": self.id_of(practitioner_key, "practitioner") if practitioner_key else None,
            "start_at": start,
            "end_at": start + HOUR,
        } | changes
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        self.looking.execute(f"insert into schedule.visit ({names}) values ({places})", list(row.values()))
