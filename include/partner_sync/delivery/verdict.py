"""From what a call came back with to what becomes of its item: one table, matched by type.

The default is *unknown*: a call that may have been done is read back before anything is sent again (design, rule 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from partner_sync.errors import (
    BadAnswerError,
    LimitReachedError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    RejectedRequestError,
)
from partner_sync.kinds.interface import Accepted, Action, Presence

Outcome = Literal["accepted", "withdrawn", "rejected", "retry", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one call. ``counted``: it used up one of the item's attempts. ``parked``: a person decides.

    ``present``: whether the partner is now known to hold the visit in some form; None when that is as before.
    """

    outcome: Outcome
    code: str
    counted: bool = False
    parked: bool = False
    present: bool | None = None
    status: int | None = None
    fields: tuple[str, ...] = ()
    partner_ref: str | None = None
    retry_at: datetime | None = None

    def as_item(self, attempt_id: int) -> dict[str, Any]:
        """The JSON object that sync.settle takes."""
        facts = vars(self) | {"attempt": attempt_id, "fields": list(self.fields)}
        facts["retry_at"] = self.retry_at.isoformat() if self.retry_at else None
        return facts


#: What surely was not done and comes back by itself, without using up an attempt (interface.PartnerKind.send).
_PASSING = (RateLimitedError, PartnerUnavailableError, LimitReachedError, PartnerAuthError, BadAnswerError)


def of_answer(answer: Accepted, action: Action) -> Verdict:
    """The partner has taken the item."""
    outcome: Outcome = "withdrawn" if action == "withdraw" else "accepted"
    return Verdict(outcome=outcome, code=outcome, status=answer.status, partner_ref=answer.partner_ref)


def of_error(error: PartnerSyncError) -> Verdict:
    """What a call that raised means for its item."""
    status, retry_at = error.facts.get("status"), error.facts.get("retry_at")
    found = Verdict(outcome="unknown", code=error.code, status=status if isinstance(status, int) else None)
    if isinstance(error, RejectedRequestError):
        return replace(found, outcome="rejected", fields=_names(error.facts.get("fields")))
    if isinstance(error, _PASSING):
        return replace(found, outcome="retry", retry_at=retry_at if isinstance(retry_at, datetime) else None)
    return found


def _names(fields: object) -> tuple[str, ...]:
    return tuple(map(str, fields)) if isinstance(fields, list | tuple) else ()


def of_presence(presence: Presence, action: Action) -> Verdict:
    """What a read-back says of a call whose answer was lost; what is not there as sent is sent again, counted."""
    if action == "withdraw" and presence.found == "absent":
        return Verdict(outcome="withdrawn", code="withdrawn")
    if action == "put" and presence.found == "same":
        return Verdict(outcome="accepted", code="accepted", partner_ref=presence.partner_ref)
    return Verdict(
        outcome="retry",
        code="outcome_unknown",
        counted=True,
        present=presence.found != "absent",
        partner_ref=presence.partner_ref,
    )


PERSON_DECIDES = Verdict(outcome="unknown", code="outcome_unknown_person", parked=True)
