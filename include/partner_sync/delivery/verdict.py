"""From what a call came back with to what becomes of its item: one table, matched by type.

The default is *unknown*: a call that may have been done is read back before anything is sent again (design, rule 4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from partner_sync.errors import (
    BadAnswerError,
    BatchRefusedError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    RejectedRequestError,
    UnmappableVisitError,
    VisitGoneError,
    VisitNameUnknownError,
)
from partner_sync.kinds.interface import Accepted, Action, Presence

Outcome = Literal["accepted", "withdrawn", "rejected", "retry", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one call. ``parked``: a person decides. ``counted``: it used up one of the item's attempts; of a
    lost answer: it was looked up, or the call repeated, and what came was of no use.

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

    def as_item(self, attempt_id: int, *, settle_seconds: float | None = None) -> dict[str, Any]:
        """The JSON object that sync.settle takes. ``settle_seconds``: from now until a lost answer may be looked up."""
        facts = vars(self) | {"attempt": attempt_id, "fields": list(self.fields), "settle_seconds": settle_seconds}
        facts["retry_at"] = self.retry_at.isoformat() if self.retry_at else None
        return facts


#: What surely was not done and comes back by itself, without using up an attempt (interface.PartnerKind.send).
_PASSING = (RateLimitedError, PartnerUnavailableError, PartnerAuthError, BadAnswerError, BatchRefusedError)
#: Why a look-up brought nothing, when it says nothing about the visit: the partner cannot be asked just now.
_NOT_ASKED = (RateLimitedError, PartnerAuthError)
#: 'field: code', or a name of ours alone: what a refusal may leave behind. A text of the partner could quote a patient.
_PLAIN_FIELD = re.compile(r"[^\s:][^:\n]{0,119}(: [A-Za-z0-9_.-]{1,40})?")


def of_answer(answer: Accepted, action: Action) -> Verdict:
    """The partner has taken the item."""
    outcome: Outcome = "withdrawn" if action == "withdraw" else "accepted"
    return Verdict(outcome=outcome, code=outcome, status=answer.status, partner_ref=answer.partner_ref)


def of_error(error: PartnerSyncError) -> Verdict:
    """What a call that raised means for its item."""
    status, retry_at = error.facts.get("status"), error.facts.get("retry_at")
    found = Verdict(outcome="unknown", code=error.code, status=status if isinstance(status, int) else None)
    if isinstance(error, VisitNameUnknownError):
        return replace(found, parked=True)
    if isinstance(error, VisitGoneError):
        return replace(found, outcome="retry", counted=True, present=False)
    if isinstance(error, RejectedRequestError):
        return replace(found, outcome="rejected", fields=_plain(error.facts.get("fields")))
    if isinstance(error, _PASSING):
        return replace(found, outcome="retry", retry_at=retry_at if isinstance(retry_at, datetime) else None)
    return found


def _plain(fields: object) -> tuple[str, ...]:
    named = fields if isinstance(fields, list | tuple) else ()
    return tuple(each for each in named if isinstance(each, str) and _PLAIN_FIELD.fullmatch(each))


def of_presence(presence: Presence, action: Action) -> Verdict:
    """What a read-back says of a call whose answer was lost; what is not there as sent is sent again, counted."""
    if action == "withdraw" and presence.found == "absent":
        return Verdict(outcome="withdrawn", code="withdrawn")
    if action == "put" and presence.found == "same":
        return Verdict(outcome="accepted", code="accepted", partner_ref=presence.partner_ref)
    if action == "put" and presence.found == "unproven":
        return PERSON_DECIDES
    return Verdict(
        outcome="retry",
        code="outcome_unknown",
        counted=True,
        present=presence.found != "absent",
        partner_ref=presence.partner_ref,
    )


def of_failed_look_up(error: PartnerSyncError) -> Verdict:
    """The partner could not say what it holds: the outcome stays unknown. Only what it answered is counted; a partner
    that is away, or a key that is wrong, says nothing about the visit.
    """
    status = error.facts.get("status")
    away = isinstance(error, PartnerUnavailableError) and status != 500
    counted = not (away or isinstance(error, _NOT_ASKED))
    return Verdict(
        outcome="unknown", code=error.code, counted=counted, status=status if isinstance(status, int) else None
    )


def of_failed_repeat(error: PartnerSyncError) -> Verdict:
    """The same call again came to nothing, which says nothing about the first one: its outcome stays unknown, unless
    the partner refuses the call. As with a look-up, only what it answered is counted.
    """
    found = of_error(error)
    if isinstance(error, UnmappableVisitError):
        # The partner file has lost a code since: nothing was asked.
        return CALL_DIFFERS
    if found.parked or found.outcome == "rejected":
        return found
    away = isinstance(error, (PartnerUnavailableError, *_NOT_ASKED)) or error.facts.get("answered") is False
    return replace(found, outcome="unknown", counted=not away, present=None, retry_at=None)


CALL_DIFFERS = Verdict(outcome="unknown", code="lost_call_differs", parked=True)
PERSON_DECIDES = Verdict(outcome="unknown", code="outcome_unknown_person", parked=True)
