"""A limiter whose clock the test sets, and an empty ledger for each example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from partner_sync.database import Connection
from partner_sync.limiter import CallClass, Grant, Limits, acquire
from postgres_server import Database

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
_CLOCK = """
create or replace function sync.limiter_now() returns timestamptz language sql volatile
    as $$ select coalesce(nullif(current_setting('test.now', true), '')::timestamptz, clock_timestamp()) $$
"""


class TestLedger:
    """The ledger of the partner ``honoka``, asked at times that the test names."""

    __test__ = False

    def __init__(self, database: Database) -> None:
        self.database = database
        self.admin = database.admin()
        self.admin.execute(_CLOCK)
        self.conn = database.connect("push")

    def empty(self) -> None:
        self.admin.execute(
            "truncate sync.rate_bucket, sync.rate_ledger, sync.rate_open, sync.rate_lease, sync.rate_limit,"
            " sync.rate_binding, sync.rate_demand, sync.rate_pause"
        )

    def at(self, moment: datetime, conn: Connection | None = None) -> None:
        (conn or self.conn).execute("select set_config('test.now', %s, false)", [moment.isoformat()])

    def ask(
        self,
        limits: Limits,
        count: int = 1,
        *,
        at: datetime,
        organization: str = "aoba",
        call_class: CallClass = "request",
        endpoint: str | None = None,
    ) -> Grant:
        self.at(at)
        return acquire(
            self.conn,
            partner="honoka",
            organization=organization,
            limits=limits,
            count=count,
            call_class=call_class,
            endpoint=endpoint,
        )


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
