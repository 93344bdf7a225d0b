"""Limits that are reached keep nothing waiting for ever: look-ups go on, other offices go, and clocks do not matter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from partner_sync.delivery.claims import Claims
from partner_sync.delivery.feeder import Feeder
from partner_sync.delivery.push import PushWork
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.errors import PartnerSyncError
from partner_sync.http.client import PartnerClient
from partner_sync.limiter import acquire
from partner_sync.limits import limits_of
from postgres.keeping_partner import BY_KEY, BY_NAME, DROP_AFTER, Fault, KeepingPartner, Pushes
from postgres.product import PARTNER, WEEK, Product
from scripted_server import Came, Reply

Made = Callable[..., Pushes]


def test_a_look_up_of_more_pages_than_the_limit_allows_at_once_ends(pushes: Made, keeping: KeepingPartner) -> None:
    paging = {"style": "page_number", "page": "page", "last_at": "last"}
    read_back = {**BY_NAME["read_back"], "parameters": ["week"], "paging": paging}
    limits = [{"scope": "organization", "requests": 4, "per_seconds": 1, "counts": "sliding_window"}]
    world = pushes(
        1, {**BY_NAME, "read_back": read_back}, settle=0.05, limits=limits, jitter_seconds=0.0, grant_ttl_seconds=0.5
    )

    def listed(came: Came) -> Reply:
        at = int(came.query["page"])
        data = [each for each in keeping.visits.values()] if at == 6 else [{"id": f"other{at}", "no": f"X{at}"}]
        return Reply(200, {"data": data, "last": 6})

    keeping.look_ups = listed
    keeping.faults.append(DROP_AFTER)
    world.push_until_quiet(seconds=12)
    assert len(keeping.visits) == 1


def test_a_large_office_whose_limit_is_reached_holds_up_no_small_one(
    pushes: Made, keeping: KeepingPartner, product: Product
) -> None:
    start, end = f"{WEEK.monday} 01:00Z", f"{WEEK.monday} 02:00Z"
    product.product.execute(
        "insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, start_at, end_at)"
        " select 'a' || n, 1, 'sakura', 1, 11, %s, %s from generate_series(10000, 12600) n", (start, end)
    )  # fmt: skip
    product.visit("z", office_id=2)
    product.week("finalized", office=2)
    limits = [{"scope": "office", "requests": 3, "per_seconds": 600}]
    world = pushes(0, BY_KEY, limits=limits)
    with pytest.raises(PartnerSyncError):
        world.push()
    assert "z" in keeping.visits


def test_a_visit_that_has_moved_to_another_office_since_it_was_listed_counts_there(
    pushes: Made, keeping: KeepingPartner, product: Product
) -> None:
    product.week("finalized", office=2)
    limits = [{"scope": "office", "requests": 10, "per_seconds": 600}]
    world = pushes(2, BY_KEY, limits=limits)
    conn = product.database.connect("push")
    work = PushWork(partner=world.partner, organization="sakura", run_key="r", call_class="request")
    turnstile = Turnstile(conn, world.partner, organization="sakura", call_class="request")
    kind = world.open(turnstile)
    feeder = Feeder(
        world.partner, kind, claims=Claims(conn, work.scope, run_key="r"), turnstile=turnstile, max_attempts=8
    )
    assert [one.visit_id for errand in feeder.errands(1) for one in errand.items] == ["v0"]
    product.visit("v1", revision=2, office_id=2)
    (errand,) = feeder.errands(1)
    assert errand.items[0].call.values["office_key"] == "O-2"
    assert errand.permit.opened.office == "2"


def test_a_worker_whose_clock_is_slow_keeps_the_pause_that_the_partner_asks_for(
    pushes: Made, keeping: KeepingPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PartnerClient.__init__

    def slow(self: Any, *args: Any, **options: Any) -> None:
        before(self, *args, **options | {"now": lambda: datetime.now(UTC) - timedelta(seconds=90)})

    monkeypatch.setattr(PartnerClient, "__init__", slow)
    world = pushes(1)
    keeping.faults.append(Fault(Reply(429, headers={"Retry-After": "60"})))
    with pytest.raises(PartnerSyncError):
        world.push()
    granted = acquire(
        world.product.database.connect("push"), partner=PARTNER, organization="sakura", limits=limits_of(world.partner),
        count=1, call_class="request",
    )  # fmt: skip
    assert granted.count == 0
