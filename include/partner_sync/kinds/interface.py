"""The one small interface behind which each kind of partner stands.

A kind lists the pages of an entity, sends a visit, reads it back, and says what it can do. Everything else is
the same for all kinds. Calls raise the typed errors of ``partner_sync.errors``; nothing is returned to mean failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol

from partner_sync.errors import PartnerSyncError

Action = Literal["put", "withdraw"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a partner can do (design, 3)."""

    incremental: bool = False
    deletes: bool = False
    read_back: bool = False
    batch: bool = False
    cancel: bool = False
    idempotency_key: bool = False
    list_visits: bool = False


@dataclass(frozen=True, kw_only=True)
class Access:
    """How one organization reaches a partner, as its Airflow connection says; never printed."""

    base_url: str
    login: str | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of an entity: the records as they were decoded, of any JSON type.

    ``next_position`` (JSON) resumes the listing after this page, also in another process; None on the last page.
    ``total`` is how many records the partner says there are in all, if it says so. ``repeated``: its records are those
    of the page before, so the slice cannot count as complete (design, rule 12).
    """

    number: int
    records: Sequence[object]
    next_position: Mapping[str, Any] | None
    total: int | None = None
    repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class VisitCall:
    """One item on its way: which visit, what to do, under which key, with which canonical values.

    ``values`` are the canonical fields that a partner file's ``push.map`` may name: visit_id, organization, week,
    office_key, patient_key, practitioner_key, service_code, start_at, end_at, status, actual_start_at,
    actual_end_at, note. ``partner_ref`` is what the partner called this visit when it last accepted it; ``held``:
    it is known to hold the visit in some form, perhaps under a name that we never learnt. ``before`` are the values
    that it last accepted, for a look-up; None when these are not known.
    """

    visit_id: str
    action: Action
    week: date
    idempotency_key: str
    values: Mapping[str, object] = field(repr=False)
    partner_ref: str | None = None
    held: bool = False
    before: Mapping[str, object] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The partner has taken the item; ``partner_ref`` is its own name for the visit, if it gives one."""

    status: int
    partner_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class Presence:
    """What a read-back found: absent, present with the values sent (same), or present with others (different).

    What was sent and is not shown proves nothing: when that is all that was to change, it counts as different, and as
    unproven where it could not be sent again without harm. ``fields``: the partner's names of the fields in question.
    """

    found: Literal["absent", "same", "different", "unproven"]
    partner_ref: str | None = None
    fields: tuple[str, ...] = ()


#: What a look-up can find, by how much it tells.
_TELLING = ("absent", "different", "unproven", "same")


@dataclass(kw_only=True)
class LookUp:
    """How far a look-up of several pages has come; all of it is JSON. A limit may stop it, and another process go on.

    ``position``: where the next page is asked for; None at the beginning. ``received``: how many records came.
    ``whole``: no page came twice, and the total agrees. ``kept``: it is written down. The others: what was found so
    far, as in ``Presence``.
    """

    position: dict[str, Any] | None = None
    found: Literal["absent", "same", "different", "unproven"] = "absent"
    partner_ref: str | None = None
    fields: Sequence[str] = ()
    received: int = 0
    whole: bool = True
    kept: bool = False

    @property
    def so_far(self) -> Presence:
        return Presence(found=self.found, partner_ref=self.partner_ref, fields=tuple(self.fields))

    def note(self, page: Page, ours: Presence) -> None:
        """One more page, and what it shows of our visit: more counts more, and of the like the first."""
        if _TELLING.index(ours.found) > _TELLING.index(self.found):
            self.found, self.partner_ref, self.fields = ours.found, ours.partner_ref, ours.fields
        self.received += len(page.records)
        last = page.next_position is None
        self.whole = self.whole and not page.repeated and not (last and page.total not in (None, self.received))
        self.position = dict(page.next_position) if page.next_position is not None else None

    def forget(self) -> None:
        """It is over, or cannot go on where it was: the next one begins anew."""
        self.position, self.found, self.partner_ref, self.fields = None, "absent", None, ()
        self.received, self.whole = 0, True


@dataclass(frozen=True, kw_only=True)
class HeldVisit:
    """A record in the partner's list of visits. ``visit_id`` is what stands where our id should; None: nothing does.

    ``partner_ref`` is the partner's own name for it.
    """

    visit_id: str | None
    partner_ref: str | None
    record: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class VisitPage:
    """One page of the visits that the partner holds in a week; what it shows as taken away is left out.

    ``records`` is how many the page had in all; the others are as in ``Page``.
    """

    number: int
    visits: Sequence[HeldVisit]
    records: int
    next_position: Mapping[str, Any] | None
    total: int | None = None
    repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What an answer's RateLimit fields say about one quota of the partner.

    ``requests`` per ``window_seconds`` is its policy, ``remaining`` calls are left until ``reset_at``; None: not said.
    ``name`` is the partner's name for the policy.
    """

    name: str | None = None
    requests: int | None = None
    window_seconds: float | None = None
    remaining: int | None = None
    reset_at: datetime | None = None


class Gate(Protocol):
    """The door to the partner: no call leaves without a grant from the ledger (design, rule 7).

    Moments that are told to it are of the ledger's clock, as ``now`` gives it: this machine's may be slow or fast.
    """

    def now(self) -> datetime:
        """The time (aware) by the ledger's clock, as far as its last grant tells."""

    def take(self, endpoint: str) -> None:
        """Take the grant for one call; raises LimitReachedError when the ledger has none now."""

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        """Note that the partner asked us to slow down (429, or 503 with Retry-After), at once (design, rule 8).

        ``retry_at``: by the ledger's clock.
        """

    def told(self, quotas: Sequence[Quota]) -> None:
        """Note what the partner says is left: it can only shrink what the file allows (design, rule 8)."""

    def answered(self, *, reached: bool) -> None:
        """Note whether a call got an answer that shows a working partner: the circuit breaker counts these."""


class PartnerKind(Protocol):
    """A partner as one organization sees it. One object serves several threads."""

    can: Capabilities

    @property
    def policies(self) -> tuple[Quota, ...]:
        """The lasting policies (calls in a window) that the partner's answers have named so far; also after close."""

    def pages(
        self, entity: str, *, since: datetime | None = None, position: Mapping[str, Any] | None = None
    ) -> Iterator[Page]:
        """List an entity's pages; raises PagingLoopError, BadAnswerError, PartnerAuthError, ReadRefusedError,
        LimitReachedError, RateLimitedError, PartnerUnavailableError.

        ``since`` is sent as it is: the overlap has been taken off the watermark already. The ``next_position`` of the
        last page that came is good for going on after any of these errors but PagingLoopError.
        """

    def send(self, call: VisitCall) -> Accepted:
        """Send one item. RejectedRequestError: final. RateLimitedError, PartnerUnavailableError: surely not done.
        PartnerAuthError, BadAnswerError (a redirect, a method that is not known): not done, the organization stops.
        OutcomeUnknownError: it may have been done. LimitReachedError: not sent. VisitGoneError: not done, the partner
        no longer has the visit that it had named. VisitNameUnknownError: not done, the visit is, or may be, there under
        a name that nobody knows.

        Withdrawing what the partner no longer has (404, 410) is Accepted.
        """

    def batch_size(self, action: Action, *, named: bool, held: bool = False) -> int:
        """The most visits that one such call takes; 1: they go one by one, by ``send``."""

    def binding_key(self, call: VisitCall) -> str | None:
        """The idempotency key of a call that may be repeated in the very same form only, as another form under another
        key could make a second visit. None: it has no key, or changes a visit by its name.
        """

    def send_batch(self, calls: Sequence[VisitCall]) -> Sequence[Accepted | PartnerSyncError]:
        """Send several items of one action, all named or none, in one call; what came of each, in their order.

        An item of which the answer says nothing clear is an OutcomeUnknownError, never accepted. Raises what ``send``
        raises when it is true of all of them, and BatchRefusedError when the partner refuses several as a whole.
        """

    def endpoint_of(self, what: Action | Literal["read_back"], *, named: bool, held: bool = False) -> str:
        """The endpoint that such a call goes to, as the limits name it. ``named``: the partner has named the visit;
        ``held``: it is known to hold it.
        """

    def read_back(self, call: VisitCall, look_up: LookUp | None = None) -> Presence:
        """Ask what the partner holds of this visit, by GET. A list of several pages goes on where ``look_up`` stands,
        which moves on with each page: after LimitReachedError it is good for going on.
        """

    def visits(
        self, week: date, organization: str, *, position: Mapping[str, Any] | None = None
    ) -> Iterator[VisitPage]:
        """List what the partner holds in the week of this Monday (``can.list_visits``); raises what ``pages`` does."""

    def differences(self, held: HeldVisit, values: Mapping[str, object]) -> tuple[str, ...]:
        """The partner's names of the fields in which a record differs from these canonical values; a field that it does
        not show is left aside.
        """

    def request_body(self, call: VisitCall) -> Mapping[str, object]:
        """The mapped body that ``send`` would send, for dry runs."""

    def close(self) -> None:
        """Close the connections."""


#: Opens the kind of one organization behind a gate; whoever opened it closes it.
OpenKind = Callable[[Gate], PartnerKind]
