"""When a push stops early: no call can succeed any more, or none gets through (design, rule 9)."""

from __future__ import annotations

from partner_sync.delivery.errands import Returned
from partner_sync.delivery.forbidden import Forbidden, is_forbidden
from partner_sync.delivery.verdict import Verdict
from partner_sync.errors import BadAnswerError, PartnerAuthError, PartnerSyncError, PartnerUnavailableError


class Stops:
    """Hears everything that comes back. ``cause`` is why nothing more should leave; None: go on."""

    def __init__(self, partner: str, *, patience: int) -> None:
        self._partner = partner
        self._patience = patience
        self._in_a_row = 0
        self._calls = 0
        self._got_through = False
        self._forbidden = Forbidden()
        self.cause: PartnerSyncError | None = None

    def judged(self, returned: Returned) -> tuple[Verdict, ...]:
        """What became of an errand's visits, in the light of everything heard so far."""
        return self._forbidden.judged(returned)

    def hear(self, returned: Returned) -> None:
        """One errand's verdicts. One visit that cannot be looked up must not hold up all the others, so only what was
        sent counts for ``patience`` calls in a row that did not get through.
        """
        self._forbidden.hear(returned)
        for verdict in returned.verdicts or ():
            unavailable = verdict.code == PartnerUnavailableError.code
            self._calls += returned.left_at is not None
            self._got_through = self._got_through or (returned.left_at is not None and not unavailable)
            if returned.errand.what != "look_up":
                self._in_a_row = self._in_a_row + 1 if unavailable else 0
            self.cause = self.cause or self._cause_of(verdict)

    @property
    def unreachable(self) -> PartnerUnavailableError | None:
        """Why a push that has come to its end did not get anywhere: it made calls, and none got through."""
        return self._unavailable("no call got through") if self._calls and not self._got_through else None

    def _cause_of(self, verdict: Verdict) -> PartnerSyncError | None:
        if verdict.code == PartnerAuthError.code and (self._forbidden.everything or not is_forbidden(verdict)):
            return PartnerAuthError(partner=self._partner, endpoint="a visit", status=verdict.status or 401)
        if verdict.outcome == "retry" and verdict.code == BadAnswerError.code:
            problem = "the partner does not know this address or method"
            facts = {"partner": self._partner, "endpoint": "a visit", "status": verdict.status or "nothing"}
            return BadAnswerError(**facts, problem=problem)
        if self._in_a_row >= self._patience:
            return self._unavailable(f"{self._in_a_row} calls in a row did not get through")
        return None

    def _unavailable(self, problem: str) -> PartnerUnavailableError:
        return PartnerUnavailableError(partner=self._partner, endpoint="visits", problem=problem, retry_at=None)
