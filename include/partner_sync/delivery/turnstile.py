"""The gate of a push: calls are granted in batches before the claim, handed out to threads, closed before the next."""

from __future__ import annotations

from datetime import datetime

from partner_sync.database import Connection
from partner_sync.errors import LimitReachedError
from partner_sync.limiter import CallClass, Grant, PrepaidGate, acquire, finish_grant, pause
from partner_sync.limits import Limits, limits_of
from partner_sync.partners.model import Partner


class Turnstile:
    """A Gate whose calls are granted in batches on the pusher's own connection; threads only take and heed."""

    def __init__(self, conn: Connection, partner: Partner, *, organization: str, call_class: CallClass) -> None:
        self._conn = conn
        self._partner = partner.slug
        self._organization = organization
        self._call_class: CallClass = call_class
        self._limits: Limits = limits_of(partner)
        self._grant: Grant | None = None
        self._gate: PrepaidGate | None = None

    def grant(self, count: int, *, endpoint: str, office: str | None = None) -> int:
        """Take up to ``count`` calls; returns how many may leave. Raises LimitReachedError when none may now."""
        grant = acquire(
            self._conn,
            partner=self._partner,
            organization=self._organization,
            limits=self._limits,
            count=count,
            call_class=self._call_class,
            endpoint=endpoint,
            office=office,
        )
        if not grant.count:
            raise LimitReachedError(partner=self._partner, retry_at=grant.retry_at)
        self._grant, self._gate = grant, PrepaidGate(grant)
        return grant.count

    def finish(self) -> None:
        """No call of the batch leaves any more: what the partner said counts from now on, for everybody."""
        if self._grant is None or self._gate is None:
            return
        self._gate.close()
        for heard in self._gate.heard:
            facts = {"partner": self._partner, "organization": self._organization}
            pause(self._conn, **facts, until_at=heard.until_at, scope=heard.scope)
        finish_grant(self._conn, self._grant)
        self._grant = self._gate = None

    def take(self, endpoint: str) -> None:
        if self._gate is None:
            raise LimitReachedError(partner=self._partner, retry_at=None)
        self._gate.take(endpoint)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        if self._gate is not None:
            self._gate.heed(status=status, scope=scope, retry_at=retry_at)
