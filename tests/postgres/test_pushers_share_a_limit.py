"""Two pushers of one organization: what one of them has been granted is used, also when the other was faster."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from partner_sync.errors import LimitReachedError
from postgres.hand_pusher import HandPusher
from postgres.keeping_partner import BY_KEY, KeepingPartner, Pushes, partner_of
from postgres.product import make_product
from postgres_server import Database
from scripted_server import Came

LIMIT = {"scope": "organization", "requests": 12, "per_seconds": 60}
#: Listed by the first pusher with all others, and claimed by the second one before the first gets to them.
SNATCHED = [f"v{number:02d}" for number in range(8, 20)]


@pytest.fixture
def keeping() -> Iterator[KeepingPartner]:
    with KeepingPartner() as running:
        yield running


def test_a_granted_call_whose_visit_was_snatched_away_is_used_for_another(
    database: Database, keeping: KeepingPartner
) -> None:
    product = make_product(database)
    for number in range(30):
        product.visit(f"v{number:02d}")
    product.week("finalized")
    world = Pushes(product, keeping, partner_of(BY_KEY, limits=[LIMIT]))
    world.release()
    first_call, other = threading.Lock(), HandPusher(product)

    def snatch(_came: Came) -> float:
        if first_call.acquire(blocking=False):
            other.send(*SNATCHED)
        return 0.0

    keeping.wait_seconds = snatch
    with pytest.raises(LimitReachedError):
        world.push()
    assert len(keeping.calls("PUT")) == 12
