"""Which pushes a person has to approve before anything leaves, and how far a yes carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from partner_sync.delivery.plan import Plan
from partner_sync.delivery.release import Mode
from partner_sync.weeks import Week

#: The words are in words.yaml.
Reason = Literal["many_calls", "past_week"]


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A person's yes: to so many calls, by whom."""

    calls: int
    by: str

    def covers(self, calls: int) -> bool:
        """The plan is made again after a yes; up to a tenth more than what was approved needs no second one."""
        return 10 * calls <= 11 * self.calls


def reasons_to_ask(
    plan: Plan, *, mode: Mode, usual_calls: int, now: datetime, approval: Approval | None = None
) -> tuple[Reason, ...]:
    """Why a person has to say yes first; empty when nobody has to be asked.

    ``usual_calls`` (``push.approve_over_calls``) is what may leave unasked. A push without any call asks nobody.
    """
    if not plan.calls or (approval is not None and approval.covers(plan.calls)):
        return ()
    found: list[Reason] = []
    if plan.calls > usual_calls:
        found.append("many_calls")
    if mode == "resend" and plan.week < Week.of(now):
        found.append("past_week")
    return tuple(found)
