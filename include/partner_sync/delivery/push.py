"""The push of one organization: collect within the limits, claim, send, verify, settle.

One straight line, repeated until nothing is due: what dead pushers left is recovered, what needs no call is closed,
lost answers are read back when their settle time has come, and the next items are granted, claimed, sent and settled.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery import verdict
from partner_sync.delivery.claims import Candidate, Claimed, Claims, Scope, Unsettled
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.delivery.verdict import Verdict
from partner_sync.errors import (
    BadAnswerError,
    ConfigError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    SettlingError,
)
from partner_sync.kinds.interface import Gate, PartnerKind
from partner_sync.limiter import CallClass
from partner_sync.partners.model import Partner
from partner_sync.statements import statement

OpenKind = Callable[[Gate], PartnerKind]

#: When to look again at a visit that the product, or another pusher, has in its hands.
BUSY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class PushWork:
    """What one push is about. ``seconds`` bounds how long it goes on taking new items (None: until nothing is due)."""

    partner: Partner
    organization: str
    run_key: str
    call_class: CallClass
    week: date | None = None
    seconds: float | None = None

    @property
    def scope(self) -> Scope:
        needs = needed_keys(self.partner)
        return Scope(partner=self.partner.slug, organization=self.organization, needs=needs, week=self.week)


@dataclass(frozen=True, kw_only=True)
class PushCounts:
    """What a run has done for an organization, by outcome; how many visits are blocked, and parked for a person.

    ``blocked_by``: the blocked ones by the reason that is named first.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    parked: int = 0
    blocked_by: dict[str, int] = field(default_factory=dict)


def needed_keys(partner: Partner) -> tuple[str, ...]:
    """The entities whose key at the partner its file maps: without one a visit is blocked (design, rule 14)."""
    sources = {mapped.source for mapped in partner.push.map.values()} if partner.push else set()
    return tuple(entity for entity in ("office", "patient", "practitioner") if f"{entity}_key" in sources)


def push_organization(conn: Connection, work: PushWork, *, open_kind: OpenKind) -> PushCounts:
    """Deliver what is due for one organization, as login sync_push.

    Raises LimitReachedError when the ledger grants nothing now, SettlingError when all that is left waits for its
    settle time or its next attempt (both name ``retry_at``; nothing is claimed and unsent then), and
    PartnerAuthError or BadAnswerError (a wrong address or method), which stop the organization, or
    PartnerUnavailableError when no call of a batch got through.
    """
    _Pusher(conn, work, open_kind).run()
    return counts_of_run(conn, work)


def counts_of_run(conn: Connection, work: PushWork) -> PushCounts:
    """The counts of a whole run, also over deferrals: read from the results, never added up in memory."""
    facts = vars(work.scope) | {"needs": list(work.scope.needs), "run_key": work.run_key}
    with translated_errors():
        rows = conn.execute(statement("delivery.run_counts"), facts).fetchall()
        blocked = conn.execute(statement("delivery.blocked"), facts).fetchall()
        parked = conn.execute(statement("delivery.parked"), facts).fetchall()
    outcomes = {row["outcome"]: row["count"] for row in rows}
    reasons = Counter(f"no_key_{row['missing'][0]}" for row in blocked)
    return PushCounts(outcomes=outcomes, blocked=len(blocked), parked=parked[0]["parked"], blocked_by=dict(reasons))


class _Pusher:
    def __init__(self, conn: Connection, work: PushWork, open_kind: OpenKind) -> None:
        if work.partner.push is None:
            raise ConfigError(problem=f"{work.partner.slug} takes no schedules: its file has no push.")
        self._push = work.partner.push
        self._settle_after_seconds = work.partner.timeouts.settle_after_seconds
        self._work = work
        self._claims = Claims(conn, work.scope, run_key=work.run_key)
        self._turnstile = Turnstile(conn, work.partner, organization=work.organization, call_class=work.call_class)
        self._kind = open_kind(self._turnstile)
        self._ends_at = time.monotonic() + work.seconds if work.seconds is not None else None
        # Visits that were there and could not be claimed: asking again at once would use up grant after grant.
        self._busy: set[str] = set()

    def run(self) -> None:
        try:
            self._claims.recover()
            self._claims.close_without_call()
            with ThreadPoolExecutor(max_workers=self._work.partner.concurrency) as threads:
                while self._time_is_left() and (self._verify(threads) or self._send(threads)):
                    pass
        finally:
            self._kind.close()
        self._say_what_is_left()

    def _time_is_left(self) -> bool:
        return self._ends_at is None or time.monotonic() < self._ends_at

    def _send(self, threads: ThreadPoolExecutor) -> bool:
        """Send one batch; False when nothing is due."""
        batch = self._next_batch()
        if not batch:
            return False
        endpoint = self._kind.endpoint_of(batch[0].action, named=batch[0].named)
        granted = self._turnstile.grant(len(batch), endpoint=endpoint, office=str(batch[0].office_id))
        asked = {one.visit_id for one in batch[:granted]}
        claimed = self._claims.claim(sorted(asked))
        self._busy |= asked - {one.call.visit_id for one in claimed}
        sent = self._claims.mark_sent(claimed, settle_after_seconds=self._settle_after_seconds)
        self._stop_when_nothing_gets_through(self._settle(sent, threads.map(self._send_one, sent)))
        return True

    def _next_batch(self) -> Sequence[Candidate]:
        """Items whose calls are bound by the same limits, as many as may be in flight."""
        found = self._claims.candidates(self._work.partner.concurrency, but=self._busy)
        return [one for one in found if self._bound_like(one) == self._bound_like(found[0])]

    def _bound_like(self, one: Candidate) -> tuple[object, ...]:
        """What the limits of this partner tell calls apart by, beside the organization."""
        scopes = {limit.scope for limit in self._work.partner.limits}
        by_office = one.office_id if "office" in scopes else None
        return (by_office, one.action, one.named) if "endpoint" in scopes else (by_office,)

    def _send_one(self, one: Claimed) -> Verdict:
        try:
            return verdict.of_answer(self._kind.send(one.call), one.call.action)
        except PartnerSyncError as error:
            return verdict.of_error(error)

    def _verify(self, threads: ThreadPoolExecutor) -> bool:
        """Find out what became of lost answers whose settle time has come; False when there are none."""
        due = min(self._claims.unknown_due(), self._work.partner.concurrency)
        if not due:
            return False
        can = self._kind.can
        if can.read_back or can.idempotency_key:
            endpoint = self._kind.endpoint_of("read_back" if can.read_back else "put", named=False)
            due = self._turnstile.grant(due, endpoint=endpoint)
        lost = self._claims.take_unknown(due, settle_after_seconds=self._settle_after_seconds)
        if can.read_back:
            self._settle(lost, threads.map(self._read_back_one, lost))
        elif can.idempotency_key:
            again = self._claims.mark_sent(lost, settle_after_seconds=self._settle_after_seconds)
            self._settle(again, threads.map(self._send_one, again))
        else:
            self._settle(lost, [verdict.PERSON_DECIDES] * len(lost))
        return True

    def _read_back_one(self, one: Claimed) -> Verdict:
        """When the partner cannot be asked, the attempt stays unknown until its lease ends."""
        try:
            return verdict.of_presence(self._kind.read_back(one.call), one.call.action)
        except PartnerSyncError as error:
            return Verdict(outcome="unknown", code=error.code)

    def _settle(self, claimed: Sequence[Claimed], verdicts: Iterable[Verdict]) -> Sequence[Verdict]:
        by_attempt = {one.attempt_id: found for one, found in zip(claimed, verdicts, strict=True)}
        if by_attempt:
            self._claims.settle(by_attempt, max_attempts=self._push.max_attempts)
        self._turnstile.finish()
        found = list(by_attempt.values())
        self._stop_where_no_call_can_succeed(found)
        return found

    def _stop_where_no_call_can_succeed(self, verdicts: Sequence[Verdict]) -> None:
        slug = self._work.partner.slug
        if any(found.code == PartnerAuthError.code for found in verdicts):
            raise PartnerAuthError(partner=slug, endpoint="a visit", status=401)
        if wrong := [found for found in verdicts if found.outcome == "retry" and found.code == BadAnswerError.code]:
            problem = "the partner does not know this address or method"
            raise BadAnswerError(partner=slug, endpoint="a visit", status=wrong[0].status or "nothing", problem=problem)

    def _stop_when_nothing_gets_through(self, sent: Sequence[Verdict]) -> None:
        """Only for what was sent: one visit that cannot be read back must not hold up all the others."""
        if sent and {found.code for found in sent} == {PartnerUnavailableError.code}:
            problem = "no call of a batch got through"
            raise PartnerUnavailableError(
                partner=self._work.partner.slug, endpoint="visits", problem=problem, retry_at=None
            )

    def _say_what_is_left(self) -> None:
        left = self._claims.unsettled()
        if left.retry_at is None and self._busy and (busy := self._claims.candidates(len(self._busy))):
            left = Unsettled(count=len(busy), retry_at=datetime.now(UTC) + timedelta(seconds=BUSY_SECONDS))
        if left.retry_at is not None and self._time_is_left():
            names = {"partner": self._work.partner.slug, "organization": self._work.organization}
            raise SettlingError(**names, retry_at=left.retry_at, count=left.count)
