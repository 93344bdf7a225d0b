"""The circuits of the partner ``honoka``, told and asked at times that the test names."""

from __future__ import annotations

from partner_sync.circuit import Calls, CircuitRule, Stop, report_calls, set_hold, stops
from partner_sync.database import Connection
from partner_sync.limiter import Grant, Limit, Limits
from postgres.limiter_clock import TestLedger, after
from postgres_server import Database

RULE = CircuitRule(failures=10, open_seconds=30, longest_open_seconds=200, organizations=3, probe_seconds=60)
WIDE = Limits(limits=(Limit(scope="organization", requests=10_000, per_seconds=1),), jitter_seconds=0.0)


class Circuits(TestLedger):
    """The circuits of honoka, told and asked at times that the test names."""

    __test__ = False

    def empty(self) -> None:
        super().empty()
        self.admin.execute("truncate sync.circuit")

    def tell(
        self, failed: int = 0, *, reached: int = 0, at: float, organization: str = "aoba", rule: CircuitRule = RULE
    ) -> None:
        self.at(after(at))
        calls = Calls(reached=reached, failed=failed)
        report_calls(self.conn, calls, partner="honoka", organization=organization, rule=rule)

    def grant(self, count: int = 5, *, at: float, organization: str = "aoba") -> Grant:
        return self.ask(WIDE, count, at=after(at), organization=organization)

    def fail_probe(self, *, at: float, organization: str = "aoba") -> None:
        assert self.grant(at=at, organization=organization).count == 1
        self.tell(1, at=at, organization=organization)

    def states(self, *, at: float, conn: Connection | None = None) -> dict[str, str]:
        self.at(after(at), conn)
        return {stop.organization: stop.state for stop in stops(conn or self.conn, partner="honoka").found}

    def stop(self, organization: str, *, at: float) -> Stop | None:
        self.at(after(at))
        return stops(self.conn, partner="honoka").of(organization)


def hold(database: Database, organization: str = "", *, held: bool = True) -> bool:
    conn = database.connect("run")
    return set_hold(conn, partner="honoka", organization=organization, held=held, reason="maintenance", by="op")
