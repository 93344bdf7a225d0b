"""A push by hand: the functions that a pusher calls, one by one, with the answer that a test chooses."""

from __future__ import annotations

from partner_sync.delivery.release import release_week
from partner_sync.weeks import Week
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database

FINAL = {"put": "accepted", "withdraw": "withdrawn"}


class HandPusher:
    """One pusher's session for the product's organization."""

    def __init__(self, product: Product) -> None:
        self._organization = product.organization
        self._conn = product.database.connect("push")
        self._owner = self._conn.execute("select sync.become_owner() as owner").fetchone()["owner"]  # type: ignore[index]

    def send(self, *visits: str) -> dict[int, str]:
        """Claim the visits and say that their calls leave; the action by attempt."""
        claim = "select id, action from sync.claim(%s, %s, %s, %s, '{}', 'run')"
        rows = self._conn.execute(claim, (PARTNER, self._organization, self._owner, list(visits))).fetchall()
        self._conn.execute("select sync.mark_sent(%s, %s, 90)", ([row["id"] for row in rows], self._owner))
        return {row["id"]: row["action"] for row in rows}

    def settle(self, sent: dict[int, str], *, outcome: str | None = None, max_attempts: int = 8) -> None:
        """Write what became of the calls: taken, or ``outcome`` (a counted one when it is a retry)."""
        for attempt, action in sent.items():
            became = outcome or FINAL[action]
            counted = "true" if became == "retry" else "false"
            item = f'{{"attempt": {attempt}, "outcome": "{became}", "code": "{became}", "counted": {counted}}}'
            self._conn.execute("select sync.settle(%s, %s, 'run', %s)", (item, self._owner, max_attempts))

    def push(self, *visits: str, outcome: str | None = None, max_attempts: int = 8) -> None:
        """Send and settle; there must be something to send."""
        sent = self.send(*visits)
        assert sent
        self.settle(sent, outcome=outcome, max_attempts=max_attempts)


def release(product: Product, week: Week = WEEK, mode: str = "changes", run: str = "run-1") -> None:
    """A planner's release of the finalized offices of a week."""
    release_week(
        product.database.connect("release"),
        partner=PARTNER,
        organizations=[product.organization],
        week=week,
        mode=mode,  # type: ignore[arg-type]  # a plain str in tests
        requested_by="planner-1",
        run_key=run,
    )


def released_week(database: Database, *visit_ids: str) -> Product:
    """An organization with these visits in a released week."""
    product = make_product(database)
    product.closed_week(*visit_ids)
    release(product)
    return product


def todo(product: Product) -> list[tuple[str, str, str, int, int]]:
    """visit, week, action, version and generation of what is to be delivered."""
    rows = product.database.admin().execute(
        "select visit_id, week::text, action, version, generation from sync.todo order by 1, 2, 3"
    )
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]  # rows are dicts
