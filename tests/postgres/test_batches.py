"""Several visits in one call are one grant and still several items (docs/decisions/0012-batches.md)."""

from __future__ import annotations

from collections.abc import Callable

from postgres.keeping_partner import (
    BY_KEY,
    BY_NAME,
    DROP_AFTER,
    DROP_BEFORE,
    GRANTED,
    Fault,
    KeepingPartner,
    Pushes,
)
from postgres.product import Product
from scripted_server import Reply

BATCH = {
    "put": {
        "method": "POST", "path": "/v1/visits/batch", "size": 3, "items_at": "visits", "results_at": "results",
        "key_at": "id", "ok_when": {"from": "status", "equals": ["ok"]}, "error_at": {"code": "code"},
    }
}  # fmt: skip


def test_one_grant_carries_a_batch(pushes: Callable[..., Pushes], keeping: KeepingPartner) -> None:
    world = pushes(7, {**BY_KEY, "batch": BATCH})
    assert world.push().outcomes == {"accepted": 7}
    assert keeping.calls("POST") == ["/v1/visits/batch"] * 3
    assert world.rows(GRANTED) == [("sakura", 3)]
    assert len(keeping.held) == 7


def test_a_batch_whose_answer_is_lost_is_looked_up_visit_by_visit(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(6, {**BY_KEY, "batch": BATCH}, settle=0.05, grant_ttl_seconds=0.5, concurrency=1)
    keeping.faults.extend([DROP_AFTER, DROP_BEFORE])
    world.push_until_quiet()
    assert len(keeping.held) == 6
    assert len(keeping.calls("GET")) == 6
    assert sum(len(came.json["visits"]) for came in keeping.server.came if came.method == "POST") == 9


def test_visits_without_a_result_of_their_own_are_looked_up(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(3, {**BY_KEY, "batch": BATCH}, settle=0.05, grant_ttl_seconds=0.5)
    results = [{"id": "v0", "status": "ok"}, {"id": "stranger", "status": "ok"}]
    keeping.faults.append(Fault(Reply(200, {"results": results}), done=True))
    world.push_until_quiet()
    assert sorted(keeping.calls("GET")) == ["/v1/visits/v1", "/v1/visits/v2"]
    assert world.rows("select count(*) from sync.push_result where outcome = 'accepted'") == [(3,)]


def test_of_a_batch_that_is_refused_as_a_whole_each_visit_goes_by_itself(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    world = pushes(3, {**BY_KEY, "batch": BATCH})
    keeping.faults.extend([Fault(Reply(422)), Fault(Reply(422))])
    outcomes = world.push().outcomes
    assert outcomes == {"retry": 3, "rejected": 1, "accepted": 2}
    assert len(keeping.calls("POST")) == 4
    assert len(keeping.held) == 2


GONE = {"ref_in": "no", "gone_when": {"from": "code", "equals": ["not_found"]}}


def test_a_visit_of_a_batch_that_is_gone_at_the_partner_is_created_anew(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, product: Product
) -> None:
    world = pushes(3, {**BY_NAME, "batch": {"put": {**BATCH["put"], **GONE}}})
    world.push()
    keeping.forget("v1")
    for number in range(3):
        product.visit(f"v{number}", revision=2, note="changed")
    results = [{"id": each, "status": "ok"} for each in ("v0", "v2")]
    gone = {"id": "v1", "status": "ng", "code": "not_found"}
    keeping.faults.append(Fault(Reply(200, {"results": [*results, gone]})))
    assert world.push().outcomes == {"retry": 1, "accepted": 3}
    assert ("v1", "O-1", "1", "changed") in keeping.held
    assert len(keeping.calls("POST")) == 3 + 1 + 1
    assert world.rows("select outcome from sync.push_result where code = 'visit_gone_at_partner'") == [("retry",)]
