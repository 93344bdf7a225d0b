"""Who gets a partner's calls: 200 organizations under one vendor limit, and a planner's push beside a large backlog."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from benchmarks.day import doors_of, patience, released_week, tick
from benchmarks.sender import Bench, Writers
from partner_sync.database import Connection
from partner_sync.partners.model import Limit
from partner_sync.steps.outcomes import RunName
from partner_sync.steps.push import WeekWork, push_organizations
from postgres.product import WEEK, make_product

ORGANIZATIONS, VISITS_EACH, MINUTES = 200, 40, 3
BACKLOG, PLANNED, PLANNER = 20_000, 50, "planner"
VENDOR = Limit(scope="vendor", requests=600, per_seconds=60)
#: A planner's push takes a while under it also alone: what is measured is the waiting, not the machine.
SLOW_VENDOR = Limit(scope="vendor", requests=10, per_seconds=5)

_PLAN = """
insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, practitioner_id, start_at, end_at)
select %(organization)s || '-' || n, 1, %(organization)s, %(base)s + 1, %(base)s + 11, %(base)s + 21,
    '2026-11-24T01:00:00Z', '2026-11-24T02:00:00Z'
from generate_series(1, %(visits)s) n
"""


def jain(served: Sequence[int]) -> float:
    """(sum x)^2 / (n sum x^2): 1.0 when everybody gets the same (Jain, Chiu, Hawe 1984)."""
    return sum(served) ** 2 / (len(served) * sum(each**2 for each in served))


def service_of_many() -> float:
    """The index of what 200 organizations got in some minutes, each with more to send than its share."""
    with released_week(1, limit=VENDOR) as (bench, base_url, admin):
        for number in range(ORGANIZATIONS):
            plan_week(bench, f"corp-{number:03}", base=1000 * (number + 1), visits=VISITS_EACH)
        began_at, ends_at = datetime.now(UTC), time.monotonic() + 60 * MINUTES
        while time.monotonic() < ends_at:
            started = time.monotonic()
            tick(bench, base_url, run_key=f"tick-{started}")
            time.sleep(max(0.0, min(started + 60, ends_at) - time.monotonic()))
        rows = admin.execute(
            "select count(r.id) as served from sync.link l"
            " left join sync.push_result r on r.organization = l.organization and r.outcome = 'accepted' and r.at > %s"
            " where l.organization like 'corp-%%' group by l.organization",
            (began_at,),
        ).fetchall()
    return jain([row["served"] for row in rows])


def planner_beside_a_backlog() -> tuple[float, float]:
    """Seconds of a planner's push of 50 visits: alone, and beside ticks that have 20,000 visits to send."""
    with released_week(1, limit=SLOW_VENDOR) as (bench, base_url, admin):
        plan_week(bench, PLANNER, base=1000, visits=PLANNED)
        alone = _planners_push(bench, base_url, run_key="alone")
        plan_week(bench, "large", base=2000, visits=BACKLOG)
        with _ticking(bench, base_url):
            _wait_for_service(admin)
            _again(admin)
            beside = _planners_push(bench, base_url, run_key="beside")
    return alone, beside


def plan_week(bench: Bench, organization: str, *, base: int, visits: int) -> None:
    """An organization with a finalized and released week of visits that nobody has sent."""
    product = make_product(Writers(bench.servers), organization=organization, base=base)  # type: ignore[arg-type]  # as there
    product.product.execute(_PLAN, {"organization": organization, "base": base, "visits": visits})
    product.week("finalized")
    bench.release(f"release-{organization}", organization=organization)


def _again(admin: Connection) -> None:
    admin.execute(
        "update schedule.visit set revision = revision + 1, note = 'again' where organization = %s", (PLANNER,)
    )


def _planners_push(bench: Bench, base_url: str, *, run_key: str) -> float:
    run = RunName(partner="honoka", run_key=run_key, dag="schedule_push")
    work, started = WeekWork(partner=bench.partner, run=run, week=WEEK), time.monotonic()
    organizations: Sequence[str] = [PLANNER]
    while organizations:
        waiting = push_organizations(doors_of(bench, base_url), work, organizations=organizations, patience=patience())
        organizations = waiting.organizations if waiting else ()
        if waiting:
            time.sleep(max(0.0, (waiting.retry_at - datetime.now(UTC)).total_seconds()))
    return time.monotonic() - started


@contextmanager
def _ticking(bench: Bench, base_url: str) -> Iterator[None]:
    """Ticks without a pause in a thread of their own."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            tick(bench, base_url, run_key=f"tick-{time.monotonic()}")

    ticking = threading.Thread(target=go_on)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join()


def _wait_for_service(admin: Connection) -> None:
    """Return when the backlog has been served for a while, so that it holds the window."""
    query = "select count(*) as served from sync.push_result where organization = 'large' and outcome = 'accepted'"
    while admin.execute(query).fetchone()["served"] < SLOW_VENDOR.requests:  # type: ignore[index]  # count gives a row
        time.sleep(0.2)


def report() -> str:
    """A table in Markdown."""
    alone, beside = planner_beside_a_backlog()
    lines = [
        "| fairness | |", "| --- | ---: |",
        f"| Jain index, {ORGANIZATIONS} organizations, one vendor limit, {MINUTES} minutes | {service_of_many():.3f} |",
        f"| a planner's push of {PLANNED} visits alone | {alone:.0f} s |",
        f"| the same beside a backlog of {BACKLOG:,} | {beside:.0f} s ({beside / alone:.2f}x) |",
    ]  # fmt: skip
    return "\n".join(lines)
