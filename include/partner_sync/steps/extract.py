"""Extract for some organizations: each with its own credentials, its entities in dependency order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from partner_sync.circuit import heeding_stops
from partner_sync.database import Connection
from partner_sync.errors import PartnerSyncError
from partner_sync.kinds.interface import PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.limiter import LedgerGate
from partner_sync.limits import limits_of
from partner_sync.links import Link, linked_organizations
from partner_sync.master.extract import extract_slice
from partner_sync.master.slices import Mode, SliceKey, Terms
from partner_sync.partners.fields import Entity
from partner_sync.partners.mapping import compile_entity
from partner_sync.partners.model import Partner
from partner_sync.policies import policies_noted
from partner_sync.steps.organizations import Doors, Patience, Waiting, each_organization
from partner_sync.steps.outcomes import Outcomes, RunName

#: Somebody of an organization's patients changes within a month; its offices and staff may stay as they are for years.
FRESH_WITHIN_HOURS: dict[Entity, int] = {"patient": 720}


@dataclass(frozen=True, kw_only=True)
class ExtractWork:
    """What one extract is about; ``since_at`` (aware) reloads from that time."""

    partner: Partner
    run: RunName
    entities: tuple[Entity, ...]
    mode: Mode
    since_at: datetime | None = None


def extract_organizations(
    doors: Doors, work: ExtractWork, *, organizations: Sequence[str], patience: Patience
) -> Waiting | None:
    """Read the entities of these organizations into staging; what is complete already is not read again.

    Returns who has to wait for the limits. Raises what ``each_organization`` raises.
    """
    with doors.connect("extract") as conn, doors.connect("extract") as ledger, doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="extract")

        def read(link: Link) -> None:
            gate = LedgerGate(
                ledger,
                partner=work.partner.slug,
                organization=link.organization,
                limits=limits_of(work.partner),
                call_class="master",
            )
            names = {"organization": link.organization, "run_key": work.run.run_key}
            with (
                heeding_stops(run, partner=work.partner.slug, organization=link.organization),
                policies_noted(run, work.partner, **names) as watched,
                closing(watched(open_kind(work.partner, doors.access(link), gate))) as kind,
            ):
                outcomes.read(link.organization, _read_entities(conn, kind, work=work, organization=link.organization))

        links = linked_organizations(conn, partner=work.partner.slug, direction="master", codes=organizations)
        return each_organization(links, read, failed=outcomes.failed, patience=patience)


def _read_entities(conn: Connection, kind: PartnerKind, *, work: ExtractWork, organization: str) -> dict[str, int]:
    """Records read by entity. A listing whose figures disagree is an error only after the others are read: what it has
    can be merged.
    """
    counts: dict[str, int] = {}
    broken: PartnerSyncError | None = None
    for entity in work.entities:
        key = SliceKey(partner=work.partner.slug, organization=organization, entity=entity, run_key=work.run.run_key)
        mapper = compile_entity(work.partner, entity)
        terms = _terms(work.partner, entity)
        read = extract_slice(conn, key, kind=kind, mapper=mapper, mode=work.mode, since_at=work.since_at, terms=terms)
        counts[entity] = read.records
        if read.state == "incomplete":
            broken = key.incomplete(read.problem or "the listing broke off")
    if broken is not None:
        raise broken
    return counts


def _terms(partner: Partner, entity: Entity) -> Terms:
    """What the partner file says of the listing; without an incremental field there is no source time to be old."""
    section = partner.listing_of(entity)
    hours = FRESH_WITHIN_HOURS.get(entity) if section.fresh_within_hours is None else section.fresh_within_hours
    return Terms(
        most_records=section.most_records,
        fresh_within_hours=hours if hours and section.incremental is not None else None,
    )
