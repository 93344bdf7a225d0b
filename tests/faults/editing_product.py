"""A product at work during a push: edits, cancels, plans again, performs; now and then it holds a visit for a while."""

from __future__ import annotations

import random
import time
from multiprocessing.process import BaseProcess

import psycopg

from faults.processes import begun
from faults.released_week import ReleasedWeek, apply
from partner_sync.database import Connection, connect
from partner_sync.errors import DatabaseAwayError

STATUSES = ("planned", "planned", "planned", "performed", "cancelled")
AGAIN_SECONDS = 0.3
LONGEST_HOLD_SECONDS = 0.1


def started_editing(product_url: str, week: ReleasedWeek, *, edits_a_second: float, seed: int) -> BaseProcess:
    """A running process; kill it when there were edits enough."""
    return begun(edit, product_url, week, edits_a_second, seed)


def edit(product_url: str, week: ReleasedWeek, edits_a_second: float, seed: int) -> None:
    """Edit random visits for ever, also when the database goes away for a while."""
    chance = random.Random(seed)
    while True:
        try:
            with connect(product_url) as product:
                while True:
                    _edit_one(product, week, chance)
                    time.sleep(chance.expovariate(edits_a_second))
        except (psycopg.OperationalError, DatabaseAwayError):
            time.sleep(AGAIN_SECONDS)


def _edit_one(product: Connection, week: ReleasedWeek, chance: random.Random) -> None:
    visit_id = chance.choice(week.visit_ids())
    with product.transaction():
        found = product.execute("select revision from schedule.visit where visit_id = %s for update", (visit_id,))
        revision = found.fetchall()[0]["revision"] + 1
        apply(product, visits=[week.row(visit_id, revision=revision, status=chance.choice(STATUSES))])
        if chance.random() < 0.1:
            time.sleep(chance.uniform(0, LONGEST_HOLD_SECONDS))
