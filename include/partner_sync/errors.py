"""Every error of partner sync, grouped by what to do next.

PartnerSyncError
  set-up is wrong: a person corrects a file, a link or a form; a retry cannot help
    ConfigError, PartnerFileError, UnknownStatementError, SecondMasterError, NotLinkedError, NothingFinalizedError
    typed by a person, who is told and nobody else:
    FormError, UnknownPartnerError, UnknownOrganizationError, InvalidWeekError, NotParkedError
  one organization stops, the others go on
    PartnerAuthError, ConnectionUnusableError, ReadRefusedError, RejectedRequestError,
    UnmappableVisitError, BadAnswerError, PagingLoopError, SliceIncompleteError
  one visit goes another way, by itself
    VisitGoneError, BatchRefusedError
  try again later, by itself
    LimitReachedError, CircuitOpenError, PartnerHeldError, OrganizationHeldError, SettlingError, RateLimitedError,
    PartnerUnavailableError, DatabaseAwayError
  never send again before it is known what happened
    OutcomeUnknownError, AnotherVisitNamedError, VisitNameUnknownError
  ours: a person of the team looks
    DataQualityError, SharedValidationError, ValidationOverdueError, DatabaseRefusedError

Constructors take facts by keyword, keep them as attributes, and build a message without any value of a
partner's record: our own ids, codes, field names and lengths only (design, rule 15).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class PartnerSyncError(Exception):
    """Something that a person sees. ``code`` is its entry in the catalogue (catalogue.yaml)."""

    code: ClassVar[str] = "unexpected"
    template: ClassVar[str] = "Something unexpected happened."

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)
        super().__init__(self.template.format(**facts))

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword-only constructors need help to cross a process border."""
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[PartnerSyncError], facts: dict[str, object]) -> PartnerSyncError:
    return kind(**facts)


# --- set-up is wrong: a person corrects it -----------------------------------------------------------


class ConfigError(PartnerSyncError):
    """A setting is missing or contradicts another."""

    code = "config_broken"
    template = "{problem}"


class PartnerFileError(ConfigError):
    """A partner file cannot be used; ``problems`` lists everything that is wrong, with file and line."""

    code = "partner_file_broken"
    template = "The partner file of {partner} cannot be used:\n{problems}"


class UnknownStatementError(ConfigError):
    """No SQL statement has this name."""

    template = "There is no SQL statement named {name}."


class SecondMasterError(ConfigError):
    """Another partner is already the organization's master of this entity (design, rule 14)."""

    code = "second_master"
    template = (
        "{partner} cannot be the master of {entity} for organization {organization}: {master} is. "
        "Take it away there first."
    )


class FormError(ConfigError):
    """A person has filled in a form so that nothing can be done; ``ja`` and ``en`` say what to write instead."""

    code = "form_invalid"
    template = "{ja} / {en}"


class UnknownPartnerError(FormError):
    """No organization is linked to a partner of this name; ``suggestions`` names near ones.

    ``partner`` is what was typed only where that looks like a name of a partner file.
    """

    code = "partner_unknown"
    template = "No organization is linked to a partner {partner}. {suggestions}"


class UnknownOrganizationError(FormError):
    """A typed organization code is not known; ``suggestions`` names near ones.

    ``organization`` is what was typed only where that looks like a code of ours: see links.unknown_organization.
    """

    code = "organization_unknown"
    template = "There is no organization with the code {organization}. {suggestions}"


class NotLinkedError(ConfigError):
    """An organization is known but has no enabled link for this work."""

    code = "organization_not_linked"
    template = "Organization {organization} has no enabled link to {partner} for {direction}. Add one with `make link`."


class InvalidWeekError(FormError):
    """What was given for a week is no date."""

    code = "week_invalid"
    template = "{value!r} is not a day. Write the week as any day of it, as YYYY-MM-DD."


class NothingFinalizedError(ConfigError):
    """No office of the chosen organizations has finalized this week."""

    code = "nothing_finalized"
    template = (
        "Week {week}: no office of {organizations} has finalized it. Finalize it in the scheduling product first."
    )


class NotParkedError(FormError):
    """Visits were named of which no lost answer waits for a person; ``visits`` are our own ids."""

    code = "not_parked"
    template = (
        "No lost answer of these visits of {organization} at {partner} waits for a person: {visits}. "
        "Nothing was changed."
    )


# --- one organization stops, the others go on -----------------------------------------------------------


class PartnerApiError(PartnerSyncError):
    """A partner's answer that is not a success: partner, endpoint (method and path template), status."""

    code = "partner_refused"
    template = "{partner} answered {status} to {endpoint}."


class PartnerAuthError(PartnerApiError):
    """401 or 403: the organization's key is wrong, expired or lacks a right (RFC 9110, 15.5.2 and 15.5.4)."""

    code = "partner_auth"


class ConnectionUnusableError(PartnerAuthError):
    """The organization's connection cannot be used as it is: no key, or an address that is none. No call was made."""

    template = "{partner}: the connection of the organization cannot be used: {problem}."


class ReadRefusedError(PartnerApiError):
    """400, 409, 422 and the like to a read: the partner does not take what we ask for; no record is at fault."""


class RejectedRequestError(PartnerApiError):
    """The partner will not take this request as it is; ``fields`` names what it complains about."""

    code = "partner_rejected"


class UnmappableVisitError(RejectedRequestError):
    """The partner file has no code for a value of the visit, or no name for the visit; no call was made."""

    template = "The visit cannot be written as {partner} wants it for {endpoint}: {fields}. No call was made."


class BadAnswerError(PartnerApiError):
    """The answer cannot be read; ``problem`` says why without quoting it."""

    code = "partner_bad_answer"
    template = "{partner} answered {status} to {endpoint}, but the answer cannot be used: {problem}."


class PagingLoopError(PartnerSyncError):
    """A page token or link came twice: following it would never end."""

    code = "partner_paging_loop"
    template = "{partner}: the pages of {entity} lead back to a page already read, after page {page}."


class SliceIncompleteError(PartnerSyncError):
    """A slice that is not wholly in staging can not be merged."""

    code = "slice_incomplete"
    template = "The slice {partner}/{organization}/{entity} of run {run_key} is not complete: {problem}."


# --- one visit goes another way, by itself ----------------------------------------------------------------


class VisitGoneError(PartnerApiError):
    """404 or 410 to a change by the partner's own name for the visit: somebody has taken it away there. Not done."""

    code = "visit_gone_at_partner"


class BatchRefusedError(PartnerApiError):
    """The partner refuses a batch as a whole and says of none of its visits why. Not done; they go one by one."""

    code = "batch_refused"


# --- try again later, by itself -----------------------------------------------------------------------


class LimitReachedError(PartnerSyncError):
    """The ledger grants no call now; ``retry_at`` (aware) is when to ask again, None when nobody knows.

    ``reason``: 'limit', or what else stops the calls: 'paused' (the partner said so), 'circuit_open' or 'held'.
    """

    code = "waiting_for_limit"
    template = "Waiting for the limits of {partner} until {retry_at} ({reason})."
    retry_at: datetime | None
    reason: str

    def __init__(self, *, partner: str, retry_at: datetime | None, reason: str = "limit") -> None:
        super().__init__(partner=partner, retry_at=retry_at, reason=reason)


class CircuitOpenError(LimitReachedError):
    """Calls failed again and again, so none leaves before ``retry_at``, when one may try."""

    code = "circuit_open"
    template = "The circuit of {partner} is open until {retry_at}: its calls failed again and again."

    def __init__(self, *, partner: str, retry_at: datetime | None, reason: str = "circuit_open") -> None:
        super().__init__(partner=partner, retry_at=retry_at, reason=reason)


class HeldError(LimitReachedError):
    """A person of the team lets no call leave until they resume it; what is due stays due."""

    code = "partner_held"
    template = "Calls to {partner} are held; they go on when the team resumes them."

    def __init__(self, *, partner: str, retry_at: datetime | None = None, reason: str = "held") -> None:
        super().__init__(partner=partner, retry_at=retry_at, reason=reason)


class PartnerHeldError(HeldError):
    """All calls to the partner are held."""


class OrganizationHeldError(HeldError):
    """The calls of one organization are held; the others go on."""

    code = "organization_held"
    template = "Calls for an organization to {partner} are held; they go on when the team resumes them."


class SettlingError(PartnerSyncError):
    """Something is still on its way or due again shortly; ``retry_at`` (aware) is when to go on."""

    code = "waiting_for_settle"
    template = "Waiting until {retry_at}: {count} visits of {organization} at {partner} are not settled yet."
    retry_at: datetime


class RateLimitedError(PartnerApiError):
    """429: the partner names (or we assume) ``retry_at``, bounded. ``scope`` is what the partner named, if any."""

    code = "partner_rate_limited"
    retry_at: datetime


class PartnerUnavailableError(PartnerSyncError):
    """No connection, a timeout before anything was sent, or a 5xx on a read; ``retry_at`` if the partner named one."""

    code = "partner_unreachable"
    template = "{partner} cannot be reached for {endpoint}: {problem}."
    retry_at: datetime | None


class DatabaseAwayError(PartnerSyncError):
    """The database closed the connection or refuses new ones; ``sqlstate`` says which."""

    code = "database_away"
    template = "The database is away (SQLSTATE {sqlstate})."


# --- never send again before it is known what happened ----------------------------------------------------


class OutcomeUnknownError(PartnerSyncError):
    """A call that changes something left, and no usable answer came back (design, rule 4). ``answered`` False: none at
    all, or one that shows a partner that is away.
    """

    code = "outcome_unknown"
    template = (
        "{partner}: the answer to {endpoint} was lost ({problem}); it is read back before anything is sent again."
    )


class AnotherVisitNamedError(OutcomeUnknownError):
    """The answer to a call names another visit than the one that was sent."""

    code = "answer_names_another_visit"
    template = "{partner}: the answer to {endpoint} names another visit; it is read back before anything is sent again."


class VisitNameUnknownError(OutcomeUnknownError):
    """The partner holds the visit under a name that we do not know, or does not know the name that it gave, and cannot
    be asked. Not done; created anew it could be there twice, so a person decides.
    """

    code = "visit_name_unknown"
    template = "{partner}: {endpoint} needs the partner's name of a visit, which nobody knows; a person decides."


# --- ours: a person of the team looks -----------------------------------------------------------------


class DataQualityError(PartnerSyncError):
    """An expectation raised instead of giving a result (design, rule 11)."""

    code = "expectation_raised"
    template = "Suite {suite}: {count} expectations could not be evaluated: {expectations}."


class SharedValidationError(PartnerSyncError):
    """The DAG validate_due could not judge the run's slices; ``code`` is what stopped it there, where that is known."""

    code = "shared_validation_failed"
    template = "{partner}: the DAG validate_due could not judge the slices of this run; its log says why."


class ValidationOverdueError(PartnerSyncError):
    """The DAG validate_due has not judged the run's slices for so many ``minutes``."""

    code = "validation_overdue"
    template = "{partner}: the DAG validate_due has not judged the slices of this run for {minutes} minutes."


class DatabaseRefusedError(PartnerSyncError):
    """A statement failed; SQLSTATE, constraint and table only, never the row (design, rule 15)."""

    code = "database_refused"
    template = "The database refused a statement (SQLSTATE {sqlstate}, {table} {constraint})."
