"""Whatever is deleted, changed, moved or put back at a partner: after a repair it holds what the schedule says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partner_sync.delivery.comparison import Findings
from partner_sync.weeks import Week
from postgres.desk import Desk
from postgres.product import WEEK, make_product
from postgres.visit_keeper import SHAPES, Shape
from postgres_server import Database

NEXT = Week(date(2026, 11, 30))
VISITS = [f"v{number}" for number in range(6)]
BY_HAND = {"when": {"start": "2026-11-24T09:00:00+09:00"}, "note": "typed there"}
EDITS = ("note", "cancel", "revive", "to this week", "to the next week")
DAMAGE = ("delete", "change", "move", "put back", "by hand")


class Schedule:
    """What the schedule says, as the test knows it: the day and the note of each visit, None when it is cancelled."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.revisions = itertools.count(1)
        self.says: dict[str, tuple[date, str] | None] = {}
        self.last: dict[str, tuple[date, str]] = {}

    def write(self, visit_id: str, says: tuple[date, str] | None) -> None:
        self.says[visit_id] = says
        self.last[visit_id] = says or self.last[visit_id]
        day, note = self.last[visit_id]
        status = "planned" if says else "cancelled"
        self.desk.product.visit(visit_id, day=day, revision=next(self.revisions), note=note, status=status)

    def edit(self, visit_id: str, how: str) -> None:
        day, note = self.last[visit_id]
        written: dict[str, tuple[date, str] | None] = {
            "note": (day, f"{note}+"),
            "cancel": None,
            "revive": (day, note),
            "to this week": (WEEK.monday, note),
            "to the next week": (NEXT.monday, note),
        }
        self.write(visit_id, written[how])


def spoil(desk: Desk, schedule: Schedule, *, visit_id: str, how: str) -> None:
    """Somebody does something at the partner's own screen."""
    names = desk.keeper.names_of(visit_id)
    if how == "by hand" and desk.keeper.named:
        desk.keeper.keep(dict(BY_HAND))
    elif how == "put back" and not names and desk.partner.push and desk.partner.push.visits_list:
        record = {"ours": visit_id, **BY_HAND}
        desk.keeper.keep(record, None if desk.keeper.named else visit_id)
    elif names and how == "delete":
        del desk.keeper.records[names[0]]
    elif names and how == "change":
        desk.keeper.records[names[0]] |= {"note": "typed there", "patient": "P-9"}
    elif names and how == "move":
        here = schedule.last[visit_id][0] == WEEK.monday
        start = "2026-12-01" if here else "2026-11-24"
        desk.keeper.records[names[0]]["when"] = {"start": f"{start}T09:00:00+09:00", "end": f"{start}T10:00:00+09:00"}


def held(desk: Desk) -> dict[str, tuple[date, str]]:
    """Our visits as the partner holds them; each stands there once."""
    found: dict[str, tuple[date, str]] = {}
    for name, record in desk.keeper.records.items():
        visit_id = record.get("ours") if desk.keeper.named else name
        if visit_id:
            assert visit_id not in found, "it stands there twice"
            assert record["patient"] == "P-11"
            found[visit_id] = (date.fromisoformat(record["when"]["start"][:10]), record["note"])
    return found


everywhere = pytest.mark.parametrize("desk", SHAPES, indirect=True)


@pytest.fixture
def desk(database: Database, request: pytest.FixtureRequest) -> Iterator[Desk]:
    shape: Shape = request.param
    desk = Desk(make_product(database), shape, settle_after_seconds=0.02)
    with desk.server:
        for week in (WEEK, NEXT):
            desk.product.visit(f"first-{week}", day=week.monday, note="")
            desk.product.week("finalized", week=week)
            desk.release(run=f"release-{week}", week=week)
        yield desk


def repaired_whatever_happens(desk: Desk, edits: list[tuple[str, str]], damage: list[tuple[str, str]]) -> None:
    schedule = Schedule(desk)
    schedule.revisions = itertools.count(next(RUNS) * 10_000)
    for visit_id in VISITS:
        schedule.write(visit_id, (WEEK.monday, "as planned"))
    desk.push(f"push-{next(RUNS)}")
    for visit_id, how in edits:
        schedule.edit(visit_id, how)
    desk.push(f"push-{next(RUNS)}")
    desk.settle()
    by_hand = desk.keeper.by_hand()
    for visit_id, how in damage:
        spoil(desk, schedule, visit_id=visit_id, how=how)
        by_hand += how == "by hand" and desk.keeper.named
    for week in (WEEK, NEXT):
        run = f"reconcile-{next(RUNS)}"
        desk.compare(run, week=week)
        assert desk.repair_and_push(run, week=week).differing == 0
    desk.settle()
    says = {name: said for name, said in schedule.says.items() if said}
    assert held(desk) == says | {f"first-{week}": (week.monday, "") for week in (WEEK, NEXT)}
    assert desk.keeper.by_hand() == by_hand
    again = desk.compare(f"reconcile-{next(RUNS)}")
    assert again == Findings(same=1 + sum(day == WEEK.monday for day, _ in says.values()), not_ours=again.not_ours)


RUNS = itertools.count(1)
SOME = st.sampled_from(VISITS)
CASES = given(
    edits=st.lists(st.tuples(SOME, st.sampled_from(EDITS)), max_size=6),
    damage=st.lists(st.tuples(SOME, st.sampled_from(DAMAGE)), max_size=6),
)
ONE_DATABASE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("desk", ["named"], indirect=True)
@CASES
@settings(max_examples=3, deadline=None, suppress_health_check=ONE_DATABASE)
def test_after_a_repair_the_partner_holds_what_the_schedule_says(
    desk: Desk, edits: list[tuple[str, str]], damage: list[tuple[str, str]]
) -> None:
    repaired_whatever_happens(desk, edits, damage)


@pytest.mark.long
@everywhere
@CASES
@settings(max_examples=25, deadline=None, suppress_health_check=ONE_DATABASE)
def test_after_many_repairs_the_partner_still_holds_what_the_schedule_says(
    desk: Desk, edits: list[tuple[str, str]], damage: list[tuple[str, str]]
) -> None:
    repaired_whatever_happens(desk, edits, damage)
