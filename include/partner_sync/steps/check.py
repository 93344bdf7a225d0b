"""The check of a partner: one page of each entity with one organization's key, shown masked, and the limits.

Also what the partner itself says of its limits, beside the file's.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from partner_sync.database import Connection
from partner_sync.kinds.interface import PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.limiter import LedgerGate
from partner_sync.limits import limits_of
from partner_sync.links import Link
from partner_sync.masking import masked
from partner_sync.partners.fields import ENTITY_ORDER, Entity, columns
from partner_sync.partners.mapping import RecordMapper
from partner_sync.partners.master import MasterEntity
from partner_sync.partners.model import Partner
from partner_sync.policies import compared, policies_noted
from partner_sync.runs import Outcome, record_outcome
from partner_sync.steps.organizations import Doors

ROWS = 3
#: A check is no run of its own; the next run tells of a difference that it met first.
RUN_KEY = "check_partner"

Report = dict[str, Any]


def check_partner(doors: Doors, partner: Partner, *, link: Link) -> Report:
    """Connect as one organization and list one page of each entity; raises what a sync would raise.

    The report holds counts, field names, types and lengths only: it may be printed.
    """
    with doors.connect("extract") as ledger, doors.connect("run") as run:
        gate = LedgerGate(
            ledger,
            partner=partner.slug,
            organization=link.organization,
            limits=limits_of(partner),
            call_class="request",
        )
        with (
            policies_noted(run, partner, organization=link.organization, run_key=RUN_KEY) as watched,
            closing(watched(open_kind(partner, doors.access(link), gate))) as kind,
        ):
            entities = {entity: _first_page(kind, entity, section=section) for entity, section in _sections(partner)}
            _note(run, partner, link)
            return {
                "partner": partner.slug,
                "organization": link.organization,
                "can": [name for name, able in vars(kind.can).items() if able],
                "limits": [limit.model_dump(exclude_none=True) for limit in partner.limits],
                "policies": [each.as_facts() for each in compared(partner.limits, kind.policies)],
                "entities": entities,
            }


def _note(conn: Connection, partner: Partner, link: Link) -> None:
    """It works: ticks that a wrong key or address has stopped may try again."""
    said = Outcome(
        partner=partner.slug,
        organization=link.organization,
        run_key=f"{RUN_KEY}/{datetime.now(UTC).isoformat()}",
        dag=RUN_KEY,
        step="check",
        outcome="ok",
        code="checked",
    )
    record_outcome(conn, said)


def _sections(partner: Partner) -> list[tuple[Entity, MasterEntity]]:
    known = partner.master.entities if partner.master else {}
    return [(entity, known[entity]) for entity in ENTITY_ORDER if entity in known]


def _first_page(kind: PartnerKind, entity: Entity, *, section: MasterEntity) -> Report:
    page = next(kind.pages(entity), None)
    records = list(page.records) if page else []
    mapper = RecordMapper(entity, section)
    mapped = [mapper.map(record) for record in records]
    return {
        "records": len(records),
        "total": page.total if page else 0,
        "problems": sorted({f"{problem.field}: {problem.code}" for one in mapped for problem in one.problems}),
        "rows": [masked(dict(zip(columns(entity), one.values, strict=True))) for one in mapped[:ROWS]],
    }
