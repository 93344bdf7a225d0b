"""Whatever happens, the to-do table is the view sync.pending, and marks as blocked what has no key (design, 4)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.errors import NothingFinalizedError
from partner_sync.weeks import Week
from postgres.hand_pusher import HandPusher, release
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database

VISITS = ("v1", "v2")
NEEDS = ["office", "patient", "practitioner"]
COLUMNS = "partner, visit_id, week, action, version, generation, office_id"
DIFFERENCES = (
    f"(select {COLUMNS} from sync.todo except select {COLUMNS} from sync.pending) union all"
    f" (select {COLUMNS} from sync.pending except select {COLUMNS} from sync.todo)"
)
WRONGLY_MARKED = (
    "select t.visit_id from sync.todo t join sync.visit_head h using (visit_id) where (t.blocked_at_change is not null)"
    " is distinct from (t.action = 'put' and exists (select from sync.lacks_key(t.partner, t.organization, %s,"
    " h.office_id, h.patient_id, h.practitioner_id)))"
)
CLEAR = (
    "set session_replication_role = replica; delete from schedule.visit; delete from schedule.week_state;"
    "delete from schedule.applied_revision; delete from sync.visit_head; delete from sync.change_history;"
    "delete from sync.push_result; delete from sync.push_attempt; delete from sync.todo; delete from sync.release;"
    "delete from sync.push_request; delete from sync.requeue; delete from sync.key_change;"
    "delete from canonical.key_map; set session_replication_role = origin"
)
KEY = (
    "insert into canonical.key_map (partner, organization, entity, canonical_id, source_key, joined_by)"
    " values (%s, 'sakura', 'patient', 12, 'P-2', 'person-1') on conflict do nothing"
)


class World:
    """A product, its planners and a partner; each step has a number that serves as revision and run key."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.admin = product.database.admin()
        self.pusher = HandPusher(product)

    def edit(self, number: int, days: int, *, status: str = "planned", office: int = 1, patient: int = 11) -> None:
        """Both visits or one of them, by the step's number; a bulk write of its own order."""
        day = (WEEK.monday + timedelta(days=days)).isoformat()
        row = {"revision": number, "organization": "sakura", "office_id": office, "patient_id": patient}
        row |= {"start_at": f"{day}T01:00Z", "end_at": f"{day}T02:00Z", "status": status, "note": str(number)}
        chosen = (VISITS, VISITS[:1], VISITS[1:])[number % 3]
        self.product.apply(visits=[{"visit_id": visit, **row} for visit in reversed(chosen)])

    def delete(self, number: int, days: int) -> None:
        self.product.apply(deleted=[{"visit_id": VISITS[days % 2], "revision": number}])

    def close(self, number: int, days: int, *, state: str) -> None:
        week = Week(WEEK.monday + timedelta(days=days))
        for office in (1, 2):
            self.product.week(state, week=week, office=office)

    def release(self, number: int, days: int, *, mode: str) -> None:
        with suppress(NothingFinalizedError):
            release(self.product, Week(WEEK.monday + timedelta(days=days)), mode=mode, run=f"run-{number}")

    def requeue(self, number: int, days: int) -> None:
        facts = (PARTNER, WEEK.monday + timedelta(days=days), list(VISITS), f"run-{number}")
        self.admin.execute("select sync.requeue_visits(%s, 'sakura', %s, %s, 'mended', 'planner-1', %s)", facts)

    def answer(self, number: int, days: int, *, outcome: str | None) -> None:
        self.pusher.settle(self.pusher.send(*VISITS), outcome=outcome)

    def tidy(self, number: int, days: int) -> None:
        self.admin.execute("select sync.close_without_call(%s, 'sakura', 'run')", [PARTNER])

    def link(self, number: int, days: int, *, enabled: bool) -> None:
        self.admin.execute("update sync.link set enabled = %s", [enabled])

    def join(self, number: int, days: int) -> None:
        self.admin.execute(KEY, [PARTNER])

    def part(self, number: int, days: int) -> None:
        self.admin.execute("delete from canonical.key_map")


Step = Callable[[World, int, int], None]
STEPS: list[Step] = [
    World.edit,
    partial(World.edit, patient=12),
    partial(World.edit, office=2),
    partial(World.edit, status="cancelled"),
    partial(World.edit, status="cancelled", office=2),
    World.delete,
    partial(World.close, state="finalized"),
    partial(World.close, state="reopened"),
    partial(World.release, mode="changes"),
    partial(World.release, mode="resend"),
    World.requeue,
    partial(World.answer, outcome=None),
    partial(World.answer, outcome="rejected"),
    World.tidy,
    partial(World.link, enabled=False),
    partial(World.link, enabled=True),
    World.join,
    World.part,
]
RELEASED: list[tuple[Step, int]] = [(World.edit, 0), (STEPS[6], 0), (STEPS[8], 0)]


def played(database: Database) -> World:
    """An empty world, the same organization as before."""
    admin = database.admin()
    admin.execute(CLEAR)
    admin.execute("update sync.link set enabled = true")
    admin.execute("delete from canonical.crosswalk where entity = 'patient' and canonical_id = 12")
    known = admin.execute("select from sync.organization").fetchall()
    return World(Product(database, database.connect("product")) if known else make_product(database))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    released=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([0, 7])), max_size=14),
)
def test_the_todo_table_equals_the_view_whatever_happens(
    database: Database, released: bool, steps: list[tuple[Step, int]]
) -> None:
    world = played(database)
    for number, (step, days) in enumerate((RELEASED if released else []) + steps, start=1):
        step(world, number, days)
    assert world.admin.execute(DIFFERENCES).fetchall() == []
    world.admin.execute("select sync.recheck_blocked(%s, 'sakura', %s)", (PARTNER, NEEDS))
    assert world.admin.execute(WRONGLY_MARKED, [NEEDS]).fetchall() == []
    database.close()
