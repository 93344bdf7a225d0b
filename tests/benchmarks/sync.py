"""The project's own way for one organization, step by step, with the time that each step takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.server import Servers
from partner_sync.database import connect
from partner_sync.kinds.interface import Access
from partner_sync.kinds.registry import open_kind
from partner_sync.links import Link
from partner_sync.master.extract import extract_slice
from partner_sync.master.guard import MergeCounts
from partner_sync.master.merge import merge_slice
from partner_sync.master.slices import SliceCounts, SliceKey
from partner_sync.onboarding import add_link, add_organization
from partner_sync.partners.fields import Entity
from partner_sync.partners.loader import load_partner
from partner_sync.partners.mapping import compile_entity
from partner_sync.partners.model import Partner
from scripted_server import OpenGate

PARTNER_FILE = Path(__file__).resolve().parents[2] / "include" / "partners" / "honoka.yaml"
ORGANIZATION = "memory-care"
T = TypeVar("T")


class MasterSync:
    """Extract, validate and merge against a memory server; ``seconds`` holds what the last ``run`` took by step."""

    def __init__(self, servers: Servers, base_url: str) -> None:
        partner = load_partner(PARTNER_FILE)
        if not isinstance(partner, Partner):
            raise TypeError(partner)
        self.partner = partner
        self.kind = open_kind(partner, Access(base_url=base_url, secret="none"), OpenGate())
        self.connections = {name: connect(servers.url(name)) for name in ("extract", "validate", "merge")}
        self.seconds: dict[str, float] = {}
        self._link(servers)

    def _link(self, servers: Servers) -> None:
        with connect(servers.url("onboarding")) as conn:
            add_organization(conn, code=ORGANIZATION, name="Memory Care")
            link = Link(
                partner=self.partner.slug,
                organization=ORGANIZATION,
                connection_id="none",
                directions=("master",),
                master_of=("office", "patient"),
            )
            add_link(conn, link)

    def run(self, entity: Entity, run_key: str) -> MergeCounts:
        """One whole sync of an entity."""
        key = self.key(entity, run_key)
        self.seconds = {}
        self._timed("extract", lambda: self.extract(key))
        self._timed("validate", lambda: self.validate(key))
        return self._timed(
            "merge", lambda: merge_slice(self.connections["merge"], key, mastered=True, overlap_seconds=120)
        )

    def key(self, entity: Entity, run_key: str) -> SliceKey:
        return SliceKey(partner=self.partner.slug, organization=ORGANIZATION, entity=entity, run_key=run_key)

    def extract(self, key: SliceKey) -> SliceCounts:
        return extract_slice(
            self.connections["extract"],
            key,
            kind=self.kind,
            mapper=compile_entity(self.partner, key.entity),
            mode="full",
        )

    def validate(self, key: SliceKey) -> None:
        from partner_sync.quality.validate import validate_run

        validate_run(
            self.connections["validate"],
            partner=key.partner,
            run_key=key.run_key,
            organizations=[key.organization],
            entities=[key.entity],
        )

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        self.seconds[step] = time.perf_counter() - started
        return done

    def close(self) -> None:
        self.kind.close()
        for conn in self.connections.values():
            conn.close()
