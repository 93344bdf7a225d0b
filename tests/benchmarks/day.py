"""A simulated day at 60 calls a minute: 10,000 changes of released visits, 40 % of them within one hour.

Each minute its changes are written and one tick runs, on a real database against a real server. The clocks of the
limiter and of the tick's waiting are replaced: both are set to the minute of the day, and go on with the machine's
clock while a tick works.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from unittest.mock import patch

from benchmarks.sender import NO_LIMIT, Bench, Writers, our_push
from benchmarks.server import database
from benchmarks.sync import PARTNER_FILE
from benchmarks.visit_server import visit_server
from partner_sync.database import Connection, connect
from partner_sync.kinds.interface import Access
from partner_sync.partners.loader import load_partner
from partner_sync.partners.model import Limit, Partner
from partner_sync.steps import organizations, push
from partner_sync.steps.organizations import Doors, Patience
from partner_sync.steps.outcomes import RunName
from partner_sync.weeks import TOKYO
from postgres.product import make_product

VISITS, CHANGES, BUSY_SHARE, BUSY_HOUR = 2_000, 10_000, 0.4, 16
MINUTES = 24 * 60
LIMIT = Limit(scope="organization", requests=60, per_seconds=60)

_REPLACE_CLOCK = """
create table public.day (minute_at timestamptz not null, set_at timestamptz not null);
insert into public.day values (clock_timestamp(), clock_timestamp());
grant select on public.day to public;
create or replace function sync.limiter_now() returns timestamptz language sql volatile
    as 'select minute_at + (clock_timestamp() - set_at) from public.day'
"""
_SET_CLOCK = "update public.day set set_at = clock_timestamp(), minute_at = %s"
_CHANGE = "update schedule.visit set revision = revision + 1, note = %s where visit_id = %s"
_ARRIVED = """
select id, visit_id, extract(epoch from at - (select set_at from public.day))::float as after_seconds
from sync.push_result where id > %s and outcome = 'accepted' order by id
"""


@dataclass
class Day:
    """In seconds since midnight: changes to come, those that are not at the partner yet, and the lags of the rest."""

    to_come: list[tuple[float, str]]
    waiting: dict[str, list[float]] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    newest_result: int = 0

    def changes_until(self, seconds: float) -> list[str]:
        """The visits that changed before ``seconds``, taken off what is to come."""
        changed = []
        while self.to_come and self.to_come[0][0] < seconds:
            moment, visit = self.to_come.pop(0)
            self.waiting.setdefault(visit, []).append(moment)
            changed.append(visit)
        return changed

    def arrived(self, visit: str, at_seconds: float) -> None:
        """A visit goes in its newest version: everything that was changed before is there with it."""
        self.lags += [at_seconds - moment for moment in self.waiting.pop(visit, [])]


def planned_day(rng: random.Random) -> Day:
    """When which visit changes."""
    busy = [3600 * (BUSY_HOUR + rng.random()) for _ in range(int(CHANGES * BUSY_SHARE))]
    calm = [rng.random() * 23 * 3600 for _ in range(CHANGES - len(busy))]
    moments = [*busy, *(moment if moment < 3600 * BUSY_HOUR else moment + 3600 for moment in calm)]
    return Day(sorted((moment, f"v{rng.randrange(VISITS):06}") for moment in moments))


def live_through(bench: Bench, base_url: str, *, admin: Connection) -> Day:
    """Play the day, and what is still to come after it."""
    day, midnight = planned_day(random.Random(0)), coming_midnight()
    admin.execute(_REPLACE_CLOCK)
    _note_arrivals(day, admin, minute_seconds=0)
    minute = 0
    while day.to_come or day.waiting:
        minute += 1
        for number, visit in enumerate(day.changes_until(60.0 * minute)):
            admin.execute(_CHANGE, (f"{minute}.{number}", visit))
        minute_at = midnight + timedelta(minutes=minute)
        admin.execute(_SET_CLOCK, (minute_at,))
        with clock_set_to(minute_at):
            tick(bench, base_url, run_key=f"tick-{minute}")
        _note_arrivals(day, admin, minute_seconds=60.0 * minute)
    return day


def coming_midnight() -> datetime:
    """Later than the calls that are in the ledger already: those of a time to come would count as just made."""
    tomorrow = datetime.now(TOKYO) + timedelta(days=1)
    return tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)


@contextmanager
def clock_set_to(moment: datetime) -> Iterator[None]:
    """A step's waiting goes by a clock that is set to ``moment`` now."""
    ahead = moment - datetime.now(UTC)

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    with patch.object(organizations, "now", now), patch.object(push, "now", now):
        yield


def _note_arrivals(day: Day, admin: Connection, *, minute_seconds: float) -> None:
    for row in admin.execute(_ARRIVED, (day.newest_result,)).fetchall():
        day.newest_result = row["id"]
        day.arrived(row["visit_id"], minute_seconds + row["after_seconds"])


def tick(bench: Bench, base_url: str, *, run_key: str) -> None:
    """One run of live_push."""
    run = RunName(partner="honoka", run_key=run_key, dag="live_push")
    push.push_due(doors_of(bench, base_url), bench.partner, run=run, patience=patience())


def doors_of(bench: Bench, base_url: str) -> Doors:
    """The ways of a step to the bench's database and partner."""
    return Doors(connect=bench.connect, access=lambda _link: Access(base_url=base_url, secret="none"))


def patience() -> Patience:
    """As long as it takes."""
    return Patience(until_at=datetime.now(UTC) + timedelta(hours=1))


@contextmanager
def released_week(visits: int, *, limit: Limit) -> Iterator[tuple[Bench, str, Connection]]:
    """A bench whose week is at the partner already, under a limit; the partner's address, and the database's admin."""
    file = load_partner(PARTNER_FILE)
    if not isinstance(file, Partner):
        raise TypeError(file)
    with database() as servers, visit_server() as base_url, connect(servers.admin_url) as admin:
        product = make_product(Writers(servers), organization="sakura")  # type: ignore[arg-type]  # connect is all it needs
        bench = Bench(servers, product, file.model_copy(update={"limits": (NO_LIMIT,)}))
        bench.plan_visits(visits)
        our_push(bench, base_url, run_key="first")
        yield replace(bench, partner=file.model_copy(update={"limits": (limit,)})), base_url, admin


def report() -> str:
    """A table in Markdown, in minutes."""
    with released_week(VISITS, limit=LIMIT) as (bench, base_url, admin):
        lags = live_through(bench, base_url, admin=admin).lags
    shares = [share / 60 for share in quantiles(lags, n=100, method="inclusive")]
    heads = ("simulated day", "changes", "median lag", "p95", "p99", "greatest, minutes")
    figures = " | ".join(f"{value:.1f}" for value in (shares[49], shares[94], shares[98], max(lags) / 60))
    return f"| {' | '.join(heads)} |\n| --- |{' ---: |' * 5}\n| 60 calls a minute | {len(lags)} | {figures} |"
