"""The push of one organization: what is due is sent within the limits, and what became of it is written down.

What dead pushers left is recovered, what needs no call is closed, and then the pipeline sends and looks up until
nothing is due (partner_sync.delivery.pipeline).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.claims import Claims, Scope, Unsettled
from partner_sync.delivery.feeder import BUSY_SECONDS
from partner_sync.delivery.pipeline import Pipeline
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.errors import ConfigError, SettlingError
from partner_sync.kinds.interface import OpenKind
from partner_sync.limiter import CallClass
from partner_sync.partners.model import Partner
from partner_sync.statements import statement


@dataclass(frozen=True, kw_only=True)
class PushWork:
    """What one push is about. ``seconds`` bounds how long calls go on leaving (None: until nothing is due); one that
    would not come back in time, by what calls took so far, does not leave either.
    """

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
    """What a run has done for an organization, by outcome; how many visits are blocked, and parked for a person: in all
    weeks, in the work's own (``parked_here``), and by this run (``parked_now``).
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    parked: int = 0
    parked_here: int = 0
    parked_now: int = 0


def needed_keys(partner: Partner) -> tuple[str, ...]:
    """The entities whose key at the partner its file maps: without one a visit is blocked (design, rule 14)."""
    sources = {mapped.source for mapped in partner.push.map.values()} if partner.push else set()
    return tuple(entity for entity in ("office", "patient", "practitioner") if f"{entity}_key" in sources)


def push_organization(conn: Connection, work: PushWork, *, open_kind: OpenKind) -> PushCounts:
    """Deliver what is due for one organization, as login sync_push.

    Raises LimitReachedError when the ledger grants nothing for more than a moment, SettlingError when all that is left
    waits for its settle time or its next attempt (both name ``retry_at``; nothing is claimed and unsent then),
    PartnerAuthError or BadAnswerError (a wrong address or method), which stop the organization, and
    PartnerUnavailableError when no call got through, or as many in a row as may be in flight. DatabaseAwayError: what
    was on its way is looked up by the next push.
    """
    push = work.partner.push
    if push is None:
        raise ConfigError(problem=f"{work.partner.slug} takes no schedules: its file has no push.")
    ends_at = time.monotonic() + work.seconds if work.seconds is not None else None
    lock = threading.Lock()
    claims = Claims(conn, work.scope, run_key=work.run_key, lock=lock)
    turnstile = Turnstile(conn, work.partner, organization=work.organization, call_class=work.call_class, lock=lock)
    kind = open_kind(turnstile)
    try:
        pipeline = Pipeline(
            work.partner, kind, claims=claims, turnstile=turnstile, max_attempts=push.max_attempts, ends_at=ends_at
        )
        claims.recover()
        claims.settle_kept(max_attempts=push.max_attempts)
        claims.close_without_call()
        pipeline.run()
    finally:
        kind.close()
    _say_what_is_left(work, claims, pipeline)
    return counts_of_run(conn, work)


def _say_what_is_left(work: PushWork, claims: Claims, pipeline: Pipeline) -> None:
    if (stopped := pipeline.stopped_by) is not None:
        raise stopped
    left = claims.unsettled()
    if left.retry_at is None and pipeline.busy and (busy := claims.candidates(pipeline.busy)):
        left = Unsettled(count=len(busy), retry_at=datetime.now(UTC) + timedelta(seconds=BUSY_SECONDS))
    if left.retry_at is not None and pipeline.time_is_left:
        names = {"partner": work.partner.slug, "organization": work.organization}
        raise SettlingError(**names, retry_at=left.retry_at, count=left.count)


def blocked_by_reason(conn: Connection, work: PushWork) -> dict[str, int]:
    """How many visits of the work's week are blocked, by the catalogue's code of why (logins sync_run, sync_push)."""
    facts = vars(work.scope) | {"needs": list(work.scope.needs)}
    with translated_errors():
        rows = conn.execute(statement("delivery.blocked_by_reason"), facts).fetchall()
    return {row["reason"]: row["count"] for row in rows}


def counts_of_run(conn: Connection, work: PushWork) -> PushCounts:
    """The counts of a whole run, also over deferrals: read from the results, never added up in memory."""
    facts = vars(work.scope) | {"needs": list(work.scope.needs), "run_key": work.run_key}
    with translated_errors():
        rows = conn.execute(statement("delivery.run_counts"), facts).fetchall()
        blocked = conn.execute(statement("delivery.blocked_count"), facts).fetchall()
        parked = conn.execute(statement("delivery.parked"), facts).fetchall()
    outcomes = {row["outcome"]: row["count"] for row in rows}
    return PushCounts(outcomes=outcomes, blocked=blocked[0]["blocked"], **parked[0])
