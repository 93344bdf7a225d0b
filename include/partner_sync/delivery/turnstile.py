"""The gate of a push: calls are granted in batches before the claim, handed out to threads, closed before the next."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime

from partner_sync.database import Connection
from partner_sync.errors import LimitReachedError
from partner_sync.kinds.interface import Quota
from partner_sync.limiter import CallClass, Grant, PrepaidGate, acquire, finish_grant, pause
from partner_sync.limits import Limits, limits_of
from partner_sync.partners.model import Partner


class Turnstile:
    """A Gate whose calls are granted in batches on the pusher's own connection.

    An item that needs more calls than one (the next page of a read-back), or whose grant has expired, asks for one
    more: the pusher's thread waits for the batch and leaves the connection to it.
    """

    def __init__(self, conn: Connection, partner: Partner, *, organization: str, call_class: CallClass) -> None:
        self._conn = conn
        self._partner = partner.slug
        self._organization = organization
        self._call_class: CallClass = call_class
        self._limits: Limits = limits_of(partner)
        self._office: str | None = None
        self._lock = threading.Lock()
        self._given: list[tuple[Grant, PrepaidGate]] = []
        self._closed = True

    def grant(self, count: int, *, endpoint: str, office: str | None = None) -> int:
        """Take up to ``count`` calls; returns how many may leave. Raises LimitReachedError when none may now."""
        self._office, self._closed = office, False
        return self._acquire(count, endpoint)

    def finish(self) -> None:
        """No call of the batch leaves any more: what the partner said counts from now on, for everybody."""
        with self._lock:
            self._closed = True
            given, self._given = self._given, []
        for grant, gate in given:
            gate.close()
            for heard in gate.heard:
                facts = {"partner": self._partner, "organization": self._organization}
                pause(self._conn, **facts, until_at=heard.until_at, scope=heard.scope)
            finish_grant(self._conn, grant)

    def take(self, endpoint: str) -> None:
        with self._lock:
            if self._closed or not self._given:
                raise LimitReachedError(partner=self._partner, retry_at=None)
            try:
                self._given[-1][1].take(endpoint)
            except LimitReachedError:
                if any(gate.heard for _, gate in self._given):
                    raise
                self._acquire(1, endpoint)
                self._given[-1][1].take(endpoint)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        with self._lock:
            for _, gate in self._given[-1:]:
                gate.heed(status=status, scope=scope, retry_at=retry_at)

    def told(self, quotas: Sequence[Quota]) -> None:
        with self._lock:
            for _, gate in self._given[-1:]:
                gate.told(quotas)

    def answered(self, *, reached: bool) -> None:
        with self._lock:
            for _, gate in self._given[-1:]:
                gate.answered(reached=reached)

    def _acquire(self, count: int, endpoint: str) -> int:
        grant = acquire(
            self._conn,
            partner=self._partner,
            organization=self._organization,
            limits=self._limits,
            count=count,
            call_class=self._call_class,
            endpoint=endpoint,
            office=self._office,
        )
        if not grant.count:
            raise grant.refusal()
        self._given.append((grant, PrepaidGate(grant)))
        return grant.count
