"""``python -m benchmarks capture``: rows a second of bulk writes of the product, with capture and without it.

The same statements on a durable server, one transaction each, as the product's own login; without capture the triggers
are off. Each is run some times and the best counts, so that a busy moment of the machine does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from benchmarks.server import Servers, database
from partner_sync.database import Connection, connect

ROWS = 10_000
ROUNDS = 3

_PEOPLE = """
insert into sync.organization (code, name) values ('sakura', 'Sakura');
insert into sync.link (partner, organization, connection_id, directions)
values ('honoka', 'sakura', 'none', array ['schedule']);
insert into canonical.office (id, organization) select n, 'sakura' from generate_series(1, 5) n;
insert into canonical.patient (id, organization) select n, 'sakura' from generate_series(1, 500) n;
insert into canonical.practitioner (id, organization) select n, 'sakura' from generate_series(1, 50) n;
"""
#: 2026-11-23 is a Monday; its week is released, the one after it is not.
_RELEASED = """
insert into schedule.week_state (office_id, week, organization, state, changed_by)
select id, '2026-11-23', 'sakura', 'finalized', 'planner' from canonical.office;
insert into sync.push_request (partner, organization, office_ids, week, mode, requested_by, run_key)
select 'honoka', 'sakura', array_agg(id), '2026-11-23', 'changes', 'planner', 'run' from canonical.office;
"""
_INSERT = """
insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, practitioner_id, start_at, end_at,
    note)
select format('v-%%s', n), 1, 'sakura', 1 + n %% 5, 1 + n %% 500, 1 + n %% 50, %(day)s::date + interval '10 hours',
    %(day)s::date + interval '11 hours', 'written by the product'
from generate_series(1, %(rows)s) n
"""
_UPDATE = (
    "update schedule.visit set revision = revision + 1, note = note || '.', start_at = start_at + interval '1 minute'"
)
_DELETE = "delete from schedule.visit"
_ONE = "update schedule.visit set revision = revision + 1, note = note || '.' where visit_id = %(visit_id)s"
_CLEAR = """
set session_replication_role = replica;
truncate schedule.visit, sync.visit_head, sync.change_history, sync.todo;
set session_replication_role = origin;
vacuum analyze schedule.visit, sync.visit_head, sync.change_history, sync.todo;
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Rows a second of one kind of write."""

    name: str
    captured: float
    bare: float


def measure(servers: Servers, *, rows: int = ROWS) -> Iterator[Figure]:
    """Many visits and one at a time, of a week that is not released and of one that is."""
    with psycopg.connect(servers.admin_url, autocommit=True) as admin, connect(servers.url("product")) as product:
        for command in (_PEOPLE + _RELEASED).split(";"):
            admin.execute(command.encode())
        for week, day in (("not released", "2026-11-30"), ("released", "2026-11-23")):
            bare = _best(admin, product, rows=rows, day=day, captured=False)
            captured = _best(admin, product, rows=rows, day=day, captured=True)
            for name, seconds in captured.items():
                count = rows if name in {"insert", "update", "delete"} else 1
                yield Figure(name=f"{name} of {count:,}, {week}", captured=count / seconds, bare=count / bare[name])


def _best(admin: psycopg.Connection, product: Connection, *, rows: int, day: str, captured: bool) -> dict[str, float]:
    """The least seconds of each write."""
    admin.execute(f"alter table schedule.visit {'enable' if captured else 'disable'} trigger user".encode())
    runs = [_run(admin, product, rows=rows, day=day) for _ in range(ROUNDS)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _run(admin: psycopg.Connection, product: Connection, *, rows: int, day: str) -> dict[str, float]:
    for command in _CLEAR.split(";"):
        if command.strip():
            admin.execute(command.strip().encode())
    facts = {"day": day, "rows": rows, "visit_id": "v-1"}
    seconds = {}
    for name, command in (("insert", _INSERT), ("update", _UPDATE), ("single update", _ONE), ("delete", _DELETE)):
        started = time.perf_counter()
        product.execute(command.encode(), facts)
        seconds[name] = time.perf_counter() - started
    return seconds


def report() -> str:
    """A table in Markdown."""
    lines = ["| write | rows/s with capture | rows/s without | factor |", "| --- | ---: | ---: | ---: |"]
    with database() as servers:
        lines += [
            f"| {each.name} | {each.captured:,.0f} | {each.bare:,.0f} | {each.bare / each.captured:.1f} |"
            for each in measure(servers)
        ]
    return "\n".join(lines)
