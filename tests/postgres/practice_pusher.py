"""Pushes one organization's visits to the practice partner."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from partner_sync.delivery.push import PushCounts, PushWork, push_organization
from partner_sync.delivery.release import release_week
from partner_sync.errors import LimitReachedError, SettlingError
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.model import Partner
from postgres.product import WEEK, Product
from sandbox.running import RunningPartner

ORGANIZATION = "sakura-care"


class Pusher:
    """Pushes as a task would: with a connection of its own and the organization's key."""

    def __init__(self, product: Product, practice: RunningPartner, partner: Partner) -> None:
        self.product, self.practice, self.partner = product, practice, partner
        self.secret = practice.key(ORGANIZATION).secret

    def release(self, mode: str = "changes", run: str = "run-1") -> None:
        release_week(
            self.product.database.connect("release"),
            partner="honoka",
            organizations=[ORGANIZATION],
            week=WEEK,
            mode=mode,  # type: ignore[arg-type]  # a plain str in tests
            requested_by="planner-1",
            run_key=run,
        )

    def open(self, gate: Gate) -> PartnerKind:
        return open_kind(self.partner, Access(base_url=self.practice.base_url, secret=self.secret), gate)

    def push(self, run: str = "run-1") -> PushCounts:
        work = PushWork(partner=self.partner, organization=ORGANIZATION, run_key=run, call_class="request")
        conn = self.product.database.connect("push")
        try:
            return push_organization(conn, work, open_kind=self.open)
        finally:
            conn.close()

    def push_until_settled(self, seconds: float = 15) -> PushCounts:
        ends_at = time.monotonic() + seconds
        while True:
            try:
                return self.push()
            except (SettlingError, LimitReachedError) as waiting:
                assert time.monotonic() < ends_at, "never settled"
                time.sleep(max(0.05, (waiting.retry_at - datetime.now(UTC)).total_seconds()))

    def held(self) -> dict[str, dict[str, object]]:
        return {visit["key"]: visit["body"] for visit in self.practice.visits(ORGANIZATION)}

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in self.product.database.admin().execute(query)]
