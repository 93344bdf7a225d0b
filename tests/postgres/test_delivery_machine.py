"""Whatever a product, planners and a failing partner do in whatever order: in the end the partner holds what the
schedule says, nothing twice, and on the way the to-do table is what the view says (rules 2-7).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from partner_sync.errors import NothingFinalizedError, PartnerSyncError
from partner_sync.weeks import Week
from postgres.keeping_partner import BY_KEY, BY_NAME, DROP_AFTER, DROP_BEFORE, Fault, KeepingPartner, Pushes, partner_of
from postgres.product import PARTNER, WEEK, make_product
from postgres_server import Server
from scripted_server import Reply

BATCH = {
    "put": {
        "method": "POST", "path": "/v1/visits/batch", "size": 2, "items_at": "visits", "results_at": "results",
        "key_at": "id", "ok_when": {"from": "status", "equals": ["ok"]}, "error_at": {"code": "code"},
    }
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {"by key": BY_KEY, "by name": BY_NAME, "in batches": {**BY_KEY, "batch": BATCH}}
VISITS = st.sampled_from(["v1", "v2", "v3"])
WEEKS = st.sampled_from([WEEK, Week(WEEK.monday + timedelta(days=7))])
OFFICES = st.sampled_from([1, 2])
FAULTS = st.sampled_from(
    [
        DROP_BEFORE,
        DROP_AFTER,
        Fault(Reply(500), done=True),
        Fault(Reply(500)),
        Fault(Reply(503, headers={"Retry-After": "0"})),
        Fault(Reply(429, headers={"Retry-After": "0"})),
        Fault(Reply(401)),
        Fault(Reply(200, b"<html>"), done=True),
        # Later than the client waits: done, and nobody listens any more.
        Fault(Reply(200, {}, wait_seconds=0.35), done=True),
    ]
)
DIFFERENT = """
    (select partner, visit_id, week, action, version, generation, office_id from sync.todo
     except select partner, visit_id, week, action, version, generation, office_id from sync.pending)
    union all
    (select partner, visit_id, week, action, version, generation, office_id from sync.pending
     except select partner, visit_id, week, action, version, generation, office_id from sync.todo)
"""


class Delivery(RuleBasedStateMachine):
    """One organization with two offices, three visits and two weeks."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._database = server.clone()
        self._server = server
        self._product = make_product(self._database)
        self._keeping = KeepingPartner().__enter__()
        self._step = 0
        self._admin = self._database.admin()

    @initialize(kind=st.sampled_from(sorted(KINDS)), concurrency=st.sampled_from([1, 4]))
    def choose(self, kind: str, concurrency: int) -> None:
        push = {**KINDS[kind], "max_attempts": 50}
        partner = partner_of(push, settle=0.5, grant_ttl_seconds=0.5, concurrency=concurrency)
        quick = partner.timeouts.model_copy(update={"read_seconds": 0.2})
        self._pushes = Pushes(self._product, self._keeping, partner.model_copy(update={"timeouts": quick}))

    def _next(self) -> int:
        self._step += 1
        return self._step

    @rule(visit=VISITS, week=WEEKS, office=OFFICES, status=st.sampled_from(["planned", "planned", "performed"]))
    def plan(self, visit: str, week: Week, office: int, status: str) -> None:
        number = self._next()
        facts = {"status": status, "office_id": office, "note": f"n{number}"}
        self._product.visit(visit, day=week.monday, revision=number, **facts)

    @rule(visit=VISITS, week=WEEKS)
    def cancel(self, visit: str, week: Week) -> None:
        self._product.visit(visit, day=week.monday, revision=self._next(), status="cancelled")

    @rule(visit=VISITS)
    def delete(self, visit: str) -> None:
        self._product.apply(deleted=[{"visit_id": visit, "revision": self._next()}])

    @rule(week=WEEKS, office=OFFICES, state=st.sampled_from(["finalized", "finalized", "reopened"]))
    def close(self, week: Week, office: int, state: str) -> None:
        self._product.week(state, week=week, office=office)

    @rule(week=WEEKS, mode=st.sampled_from(["changes", "changes", "resend"]))
    def release(self, week: Week, mode: str) -> None:
        with suppress(NothingFinalizedError):
            self._pushes.release(week, mode=mode)

    @rule(visit=VISITS, week=WEEKS)
    def requeue(self, visit: str, week: Week) -> None:
        self._database.connect("release").execute(
            "select sync.requeue_visits(%s, 'sakura', %s, %s, 'asked', 'planner-1', %s)",
            (PARTNER, week.monday, [visit], f"requeue-{self._next()}"),
        )

    @rule(faults=st.lists(FAULTS, max_size=3))
    def push(self, faults: list[Fault]) -> None:
        self._keeping.faults.extend(faults)
        # What it raises says when to go on; the end goes on until nothing is left.
        with suppress(PartnerSyncError):
            self._pushes.push()
        self._pushes.all_due()

    @invariant()
    def the_todo_table_is_what_the_view_says(self) -> None:
        assert self._admin.execute(DIFFERENT).fetchall() == []

    def teardown(self) -> None:
        try:
            if self._step:
                self._end()
        finally:
            self._keeping.__exit__(None, None, None)
            self._database.close()
            self._server.drop(self._database.name)

    def _end(self) -> None:
        self._keeping.faults.clear()
        for week in (WEEK, WEEK.next()):
            for office in (1, 2):
                self._product.week("finalized", week=week, office=office)
            self._pushes.release(week)
        self._pushes.push_until_quiet()
        self.the_todo_table_is_what_the_view_says()
        rows = self._admin.execute(
            "select visit_id, format('O-%s', office_id) as office,"
            " case status when 'planned' then '1' else '2' end as status, coalesce(note, '') as note"
            " from schedule.visit where status <> 'cancelled'"
        )
        expected = sorted(tuple(row.values()) for row in rows)
        assert self._keeping.held == expected
        assert self._admin.execute("select from sync.todo").fetchall() == []


def play(server: Server, *, examples: int, steps: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=quiet)
    run_state_machine_as_test(lambda: Delivery(server), settings=chosen)


def test_in_the_end_the_partner_holds_what_the_schedule_says(postgres: Server) -> None:
    play(postgres, examples=10, steps=14)


@pytest.mark.long
def test_in_the_end_the_partner_holds_what_the_schedule_says_over_many_histories(postgres: Server) -> None:
    play(postgres, examples=150, steps=30)
