"""``python -m benchmarks collection``: a tick's collection and a week's plan do not grow with the history.

One partner, 1,000 organizations. Beside the past (accepted, dead letters, weeks that nobody has released) there are, at
every size: a week of 1,000 visits to plan, 4,000 visits of 200 organizations to send, one organization with nothing but
blocked visits and one whose visits wait for their next attempt.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from benchmarks.server import Servers, database
from benchmarks.sync import PARTNER_FILE
from partner_sync.database import Connection, connect
from partner_sync.delivery.claims import Claims
from partner_sync.delivery.plan import plan_push
from partner_sync.delivery.push import PushWork, counts_of_run, needed_keys
from partner_sync.partners.loader import load_partner
from partner_sync.partners.model import Partner
from partner_sync.statements import statement
from partner_sync.weeks import Week

FILL = Path(__file__).with_suffix(".sql")
WEEK = Week(date(2026, 11, 23))
ROUNDS = 30
SIZES = (100_000, 1_000_000, 10_000_000)
#: The write-ahead log of the fill may be larger than usual, or half the time goes into checkpoints; nothing is to be
#: vacuumed while it is measured.
SETTINGS = ("max_wal_size = 3GB", "autovacuum = off")
#: Made anew after the fill, which is quicker than to keep them during it. Primary keys stay: they are filled in order.
_INDEXES = """
select c.relname, pg_get_indexdef(c.oid) as definition, n.nspname
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not i.indisprimary and i.indrelid = any (array [
    'schedule.visit', 'sync.visit_head', 'sync.push_attempt', 'sync.push_result']::regclass[])
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much lies in the tables. ``history``: rows of the change history for the past."""

    history: int
    blocked: int = 100_000
    later: int = 100_000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Milliseconds of one thing, over some calls."""

    name: str
    median: float
    p95: float


def measure(shape: Shape, *, say: Callable[[str], None] = print) -> list[Figure]:
    """Fill a database of its own and time the real functions."""
    with database(*SETTINGS) as servers:
        started = time.monotonic()
        fill(servers, shape)
        say(f"filled {shape.history:,} rows of history in {time.monotonic() - started:.0f} s, {size(servers)}")
        return list(figures(servers))


def fill(servers: Servers, shape: Shape) -> None:
    """Everything without triggers; the to-do table by the function that keeps it."""
    text = FILL.read_text(encoding="utf-8").format(visits=shape.history // 2, blocked=shape.blocked, later=shape.later)
    with psycopg.connect(servers.admin_url, autocommit=True) as admin:
        admin.execute("set session_replication_role = replica")
        admin.execute("set maintenance_work_mem = '512MB'")
        indexes = admin.execute(_INDEXES).fetchall()
        for name, _, schema in indexes:
            admin.execute(f"drop index {schema}.{name}".encode())
        for command in text.split(";\n"):
            if command.strip():
                admin.execute(command.encode())
        for _, definition, _ in indexes:
            admin.execute(definition.encode())
        admin.execute("analyze")
        _fill_todo(admin)
        admin.execute("update sync.todo set due_at = due_at + interval '1 day' where visit_id like 'later-%'")
        admin.execute("drop table public.planned")
        admin.execute("vacuum analyze sync.todo")


def _fill_todo(admin: psycopg.Connection) -> None:
    refresh = "select sync.refresh_todo(array_agg(visit_id)) from public.planned where shape = %s and nth / 10000 = %s"
    shapes = "select shape, nth / 10000 from public.planned where state = 'pending' group by 1, 2 order by 1, 2"
    for shape, slice_ in admin.execute(shapes).fetchall():
        admin.execute(refresh, (shape, slice_))


def size(servers: Servers) -> str:
    """What the database takes on disk."""
    with psycopg.connect(servers.admin_url) as admin:
        row = admin.execute("select pg_size_pretty(pg_database_size(current_database()))").fetchone()
    return str(row[0]) if row else ""


def figures(servers: Servers) -> Iterator[Figure]:
    """The calls of a tick and of a plan, in the order in which they are made."""
    partner = load_partner(PARTNER_FILE)
    if not isinstance(partner, Partner):
        raise TypeError(partner)
    with connect(servers.url("push")) as push, connect(servers.url("release")) as release:
        one = Claims(push, work(partner, "org-10").scope, run_key="bench")
        collected = "a tick's collection: who is due, and the first candidates of one"
        yield timed(collected, lambda: (due(push, partner), one.candidates(8)))
        for organization, what in (
            ("org-10", "20 visits"),
            ("org-1", "1,000 visits"),
            ("org-2", "all blocked"),
            ("org-3", "all later"),
        ):
            claims = Claims(push, work(partner, organization).scope, run_key="bench")
            yield timed(f"first candidates, {what}", lambda claims=claims: claims.candidates(8))
            yield timed(f"close without a call, {what}", claims.close_without_call)
            yield timed(f"what is left, {what}", claims.unsettled)
            asked = work(partner, organization)
            yield timed(f"counts of a run, {what}", lambda asked=asked: counts_of_run(push, asked))
        plan = {"partner": partner, "organizations": ["org-1"], "week": WEEK}
        yield timed("plan of a week of 1,000 visits", lambda: plan_push(release, **plan))
        yield timed("the same as a resend", lambda: plan_push(release, **plan, resend=True))
    with connect(servers.admin_url) as admin:
        for organization, what in (("org-1", "1,000 visits"), ("org-2", "100,000 visits")):
            yield timed(
                f"to-do against its definition, {what}", lambda code=organization: rebuild(admin, code), rounds=3
            )


def due(conn: Connection, partner: Partner) -> list[dict[str, object]]:
    """The query of a tick."""
    return conn.execute(
        statement("delivery.due_organizations"), {"partner": partner.slug, "needs": list(needed_keys(partner))}
    ).fetchall()


def rebuild(admin: Connection, organization: str) -> None:
    """What a comparison begins with; nothing is wrong, so nothing is written."""
    admin.execute("select sync.rebuild_todo('honoka', %s)", (organization,))


def work(partner: Partner, organization: str) -> PushWork:
    """A tick's work for one organization."""
    return PushWork(partner=partner, organization=organization, run_key="bench", call_class="tick")


def timed(name: str, call: Callable[[], object], *, rounds: int = ROUNDS) -> Figure:
    """Warm it once, then time it."""
    call()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - started))
    return Figure(name=name, median=statistics.median(taken), p95=statistics.quantiles(taken, n=20)[-1])


def report(sizes: tuple[int, ...] = SIZES) -> str:
    """A table in Markdown: one line for each thing, two columns for each size."""
    columns = [measure(Shape(history=size)) for size in sizes]
    heads = " | ".join(f"{size:,} median ms | p95 ms" for size in sizes)
    lines = [f"| | {heads} |", "| --- |" + " ---: | ---: |" * len(sizes)]
    for row in zip(*columns, strict=True):
        cells = " | ".join(f"{each.median:.1f} | {each.p95:.1f}" for each in row)
        lines.append(f"| {row[0].name} | {cells} |")
    return "\n".join(lines)
