"""Merge for some organizations: what was read and judged, entity by entity in dependency order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from partner_sync.database import Connection
from partner_sync.links import Link, linked_organizations
from partner_sync.master import slices
from partner_sync.master.guard import Guard, MergeCounts
from partner_sync.master.merge import merge_slice
from partner_sync.master.slices import SliceKey
from partner_sync.partners.fields import Entity
from partner_sync.partners.model import Partner
from partner_sync.steps.organizations import Doors, Patience, each_organization
from partner_sync.steps.outcomes import Outcomes, RunName


@dataclass(frozen=True, kw_only=True)
class MergeWork:
    """What one merge is about."""

    partner: Partner
    run: RunName
    entities: tuple[Entity, ...]
    guard: Guard = field(default_factory=Guard)


def merge_organizations(doors: Doors, work: MergeWork, *, organizations: Sequence[str], patience: Patience) -> None:
    """Merge the slices of this run; an organization without any was stopped before, and is passed over.

    Raises DatabaseAwayError.
    """
    with doors.connect("merge") as conn, doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="merge")

        def merge(link: Link) -> None:
            for entity in work.entities:
                done = _merge_entity(conn, work, link=link, entity=entity)
                if done is not None:
                    outcomes.merged(link.organization, entity, done=done)

        links = linked_organizations(conn, partner=work.partner.slug, direction="master", codes=organizations)
        each_organization(links, merge, failed=outcomes.failed, patience=patience)


def _merge_entity(conn: Connection, work: MergeWork, *, link: Link, entity: Entity) -> MergeCounts | None:
    """What the merge did; None when the listing broke off, which extract has said already."""
    key = SliceKey(partner=work.partner.slug, organization=link.organization, entity=entity, run_key=work.run.run_key)
    read = slices.find(conn, key)
    if read is None or read.state == "open" or not read.last_page_reached:
        return None
    section = work.partner.listing_of(entity)
    return merge_slice(
        conn,
        key,
        mastered=entity in link.master_of,
        match_by=section.match_by,
        guard=work.guard,
        overlap_seconds=section.incremental.overlap_seconds if section.incremental else 0,
    )
