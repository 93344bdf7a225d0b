"""Merge for some organizations: what was read and judged, entity by entity in dependency order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partner_sync.database import Connection
from partner_sync.links import Link, linked_organizations
from partner_sync.master import slices
from partner_sync.master.guard import Guard, Held, MergeCounts
from partner_sync.master.merge import held_since, merge_slice
from partner_sync.master.slices import SliceKey
from partner_sync.partners.fields import Entity
from partner_sync.partners.model import Partner
from partner_sync.steps.organizations import Doors, Patience, each_organization
from partner_sync.steps.outcomes import Outcomes, RunName

#: Questions of one run: each is a run of its own, and when so much is held at once the partner is to be asked.
MOST_QUESTIONS = 20


@dataclass(frozen=True, kw_only=True)
class HeldMerge:
    """A merge that waits for a person. ``cause``: run key of the merge that was held first for the same reason."""

    organization: str
    entity: Entity
    cause: str
    held: Held


@dataclass(frozen=True, kw_only=True)
class MergeWork:
    """What one merge is about."""

    partner: Partner
    run: RunName
    entities: tuple[Entity, ...]
    guard: Guard = field(default_factory=Guard)


def merge_organizations(
    doors: Doors, work: MergeWork, *, organizations: Sequence[str], patience: Patience
) -> tuple[HeldMerge, ...]:
    """Merge the slices of this run; an organization without any was stopped before, and is passed over.

    Returns what is held and has to be asked about. Raises DatabaseAwayError.
    """
    held: list[HeldMerge] = []
    with doors.connect("merge") as conn, doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="merge")

        def merge(link: Link) -> None:
            for entity in work.entities:
                done = _merge_entity(conn, work, link=link, entity=entity)
                if done is not None:
                    outcomes.merged(link.organization, entity, done=done)
                    held.extend(_questions(conn, work, organization=link.organization, entity=entity, done=done))

        links = linked_organizations(conn, partner=work.partner.slug, direction="master", codes=organizations)
        each_organization(links, merge, failed=outcomes.failed, patience=patience)
    return chosen_to_ask(held, run_key=work.run.run_key)


def chosen_to_ask(held: Sequence[HeldMerge], *, run_key: str) -> tuple[HeldMerge, ...]:
    """At most MOST_QUESTIONS, others in each run: what has been asked already is held in the next run as well."""

    def turn(each: HeldMerge) -> bytes:
        return hashlib.sha256(f"{run_key}|{each.organization}|{each.entity}".encode()).digest()

    return tuple(sorted(held, key=turn)[:MOST_QUESTIONS])


def _questions(
    conn: Connection, work: MergeWork, *, organization: str, entity: Entity, done: MergeCounts
) -> Iterator[HeldMerge]:
    if done.held is None:
        return
    key = SliceKey(partner=work.partner.slug, organization=organization, entity=entity, run_key=work.run.run_key)
    yield HeldMerge(organization=organization, entity=entity, cause=held_since(conn, key, done.held), held=done.held)


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
