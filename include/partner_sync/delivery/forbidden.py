"""A 403 may mean the key or the visit: what became of the other visits says which (design, rule 9).

While others go through it is that visit's rejection. When so many visits were forbidden and none went through, it is
the key. Until one is known, the visit comes again a little later, as often as the partner file lets it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from partner_sync.delivery.errands import Returned
from partner_sync.delivery.verdict import Verdict
from partner_sync.errors import BatchRefusedError, PartnerAuthError

#: So many visits forbidden, and none taken: the key.
_VISITS_OF_A_KEY = 3
_AGAIN_SECONDS = 60.0
#: What only a partner says that lets us in.
_LET_IN = frozenset({"accepted", "withdrawn", "rejected"})


def is_forbidden(verdict: Verdict) -> bool:
    """Whether the answer may be about the visit alone."""
    return verdict.code == PartnerAuthError.code and verdict.status == 403


class Forbidden:
    """The 403s of one push, and whether anything else went through."""

    def __init__(self) -> None:
        self._visits: set[str] = set()
        self._others_go = False

    @property
    def everything(self) -> bool:
        return len(self._visits) >= _VISITS_OF_A_KEY and not self._others_go

    def hear(self, returned: Returned) -> None:
        """One errand that came back. A batch that is forbidden as a whole counts once: one of its visits may be why."""
        verdicts = returned.verdicts or ()
        if any(map(is_forbidden, verdicts)):
            self._visits.add(returned.errand.items[0].visit_id)
        if returned.left_at is not None and any(verdict.outcome in _LET_IN for verdict in verdicts):
            self._others_go = True

    def judged(self, returned: Returned) -> tuple[Verdict, ...]:
        """The verdicts of an errand, those of forbidden visits as they stand now."""
        return tuple(self._judged(verdict, returned) for verdict in returned.verdicts or ())

    def _judged(self, verdict: Verdict, returned: Returned) -> Verdict:
        if not is_forbidden(verdict) or self.everything:
            return verdict
        if returned.errand.what == "look_up":
            # One that can never be looked up is for a person, as soon as the partner lets us see the others.
            return replace(verdict, counted=self._others_go)
        if len(returned.errand.items) > 1:
            return replace(verdict, code=BatchRefusedError.code)
        if self._others_go:
            return replace(verdict, outcome="rejected", code="partner_forbids")
        again_at = datetime.now(UTC) + timedelta(seconds=_AGAIN_SECONDS)
        return replace(verdict, code="partner_forbids", counted=True, retry_at=again_at)
