"""Limits kept, judged by partners that count arrivals on their own: four processes, three minutes, each kind of limit.

Network jitter is real: a call arrives up to 0.15 s after it was sent, the partner files say ``jitter_seconds: 0.2``.
"""

from __future__ import annotations

import json

from benchmarks.server import database
from faults.limits_kept import CASES, SHARED_CASES, Case, Kept, kept, measured, table
from faults.live_airflow import SLUG, live_airflow
from faults.released_week import Place
from judge.allowances import allowed_of
from judge.running import asked, running

SECONDS = 200.0
VISITS = 1_300
AIRFLOW_VISITS = 1_300


def report() -> str:
    """Two tables in Markdown: alone under the limit, and beside a second client that takes half of it."""
    alone = table(_measured(CASES))
    return (
        f"{alone}\n\nBeside a client that takes half of the quota and tells nobody:\n\n{table(_measured(SHARED_CASES))}"
    )


def airflow_report() -> str:
    """The same for a schedule_push that defers, on a live Airflow of its own; about five minutes."""
    limits = [{"scope": "organization", "requests": 60, "per_seconds": 10}]
    case = Case(slug="schedule_push", one_organization=True, limits=tuple(allowed_of(limit) for limit in limits))
    with (
        running("visit_partner", style="named", limits=json.dumps(limits)) as partner,
        live_airflow(partner, visits=AIRFLOW_VISITS, limits=limits) as live,
    ):
        live.api.wait_for_run(f"{SLUG}__schedule_push", live.push(), seconds=900)
        return table([kept(case, asked(partner, "/judge/arrivals"))])


def _measured(cases: tuple[Case, ...]) -> list[Kept]:
    with database() as servers:
        place = Place(url=servers.url, admin_url=servers.admin_url)
        return measured(place, cases, seconds=SECONDS, visits=VISITS)
