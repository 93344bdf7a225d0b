"""One organization at one partner of a shape: releases, pushes, compares and repairs as the tasks would."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Any

from partner_sync.delivery.comparison import Findings, Round, repair, repaired_weeks
from partner_sync.delivery.push import PushCounts, PushWork, push_organization
from partner_sync.delivery.reconcile import compare_week, comparing, repeats_safely
from partner_sync.delivery.release import release_week
from partner_sync.errors import LimitReachedError, SettlingError
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.model import Partner
from partner_sync.weeks import Week
from postgres.product import WEEK, Product
from postgres.visit_keeper import Keeper, Shape, partner_of
from scripted_server import ScriptedServer


class Desk:
    """One organization at one partner of a shape: releases, pushes, compares and repairs as the tasks would."""

    def __init__(self, product: Product, shape: Shape, *, settle_after_seconds: float = 0.2) -> None:
        self.product = product
        self.partner: Partner = partner_of(shape, settle_after_seconds=settle_after_seconds)
        self.keeper = Keeper(named=shape == "named")
        self.server = ScriptedServer(self.keeper.answer)

    def release(self, run: str = "release", week: Week = WEEK, mode: str = "changes") -> None:
        release_week(
            self.product.database.connect("release"), partner="honoka", organizations=[self.product.organization],
            week=week, mode=mode, requested_by="planner-1", run_key=run,  # type: ignore[arg-type]
        )  # fmt: skip

    def open(self, gate: Gate) -> PartnerKind:
        return open_kind(self.partner, Access(base_url=self.server.base_url, secret="k"), gate)

    def push(self, run: str = "push", week: date | None = None) -> PushCounts:
        work = PushWork(
            partner=self.partner, organization=self.product.organization, run_key=run, call_class="request", week=week
        )
        ends_at = time.monotonic() + 15
        while True:
            try:
                with self.product.database.connect("push") as conn:
                    return push_organization(conn, work, open_kind=self.open)
            except (SettlingError, LimitReachedError) as waiting:
                assert time.monotonic() < ends_at, "never settled"
                time.sleep(max(0.05, (waiting.retry_at - datetime.now(UTC)).total_seconds()))

    def settle(self) -> None:
        """Let the settle time pass: until then nothing counts as a difference."""
        time.sleep(self.partner.timeouts.settle_after_seconds + 0.05)

    def compare(self, run: str = "r1", round_: Round = 1, week: Week = WEEK) -> Findings:
        what = comparing(
            self.partner, organization=self.product.organization, week=week.monday, run_key=run, round_=round_
        )
        with self.product.database.connect("push") as conn, self.product.database.connect("push") as ledger:
            return compare_week(conn, ledger, partner=self.partner, what=what, open_kind=self.open)

    def repair(self, run: str = "r1", week: Week = WEEK) -> int:
        what = comparing(self.partner, organization=self.product.organization, week=week.monday, run_key=run)
        assert self.partner.push
        with self.product.database.connect("push") as conn:
            sure = repeats_safely(self.partner.push)
            found = repair(conn, what, missing_is_sure=sure, requested_by="planner-1")
            return found.repaired if found else 0

    def repair_and_push(self, run: str = "r1", week: Week = WEEK) -> Findings:
        """Repair, send what was repaired, and compare once more."""
        self.repair(run, week=week)
        with self.product.database.connect("push") as conn:
            weeks = repaired_weeks(conn, partner="honoka", run_key=run, organizations=[self.product.organization])
        for monday in weeks:
            self.push(run, week=monday)
        return self.compare(run, round_=2, week=week)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.product.database.admin().execute(query)]

    def items(self) -> list[tuple[Any, ...]]:
        return self.rows("select visit_id, what, why, fields from sync.reconciliation_item order by id")
