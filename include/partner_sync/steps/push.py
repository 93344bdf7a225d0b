"""Push for some organizations: those of a planner's request, which may wait, or all that are due at a tick."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from partner_sync.circuit import heeding_stops, stops
from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.failures import still_failed
from partner_sync.delivery.push import PushCounts, PushWork, blocked_by_reason, needed_keys, push_organization
from partner_sync.errors import CircuitOpenError, LimitReachedError, PartnerUnavailableError, SettlingError
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.limiter import CallClass, queue_up
from partner_sync.limits import limits_of
from partner_sync.links import Link, linked_organizations
from partner_sync.partners.model import Partner
from partner_sync.policies import policies_noted
from partner_sync.statements import statement
from partner_sync.steps.organizations import Doors, Patience, Waiting, each_organization, now
from partner_sync.steps.outcomes import Outcomes, RunName
from partner_sync.weeks import Week

#: A tick of a minute leaves some of it to Airflow; each organization gets its share, and never less than this.
TICK_SECONDS = 40.0
LEAST_SHARE_SECONDS = 2.0
#: What an organization is taken to want before it has asked: what it does not take is free again as soon as it has.
TICK_WANTS = 60


@dataclass(frozen=True, kw_only=True)
class WeekWork:
    """A push of one week."""

    partner: Partner
    run: RunName
    week: Week


def push_organizations(
    doors: Doors, work: WeekWork, *, organizations: Sequence[str], patience: Patience
) -> Waiting | None:
    """Send the week's items of these organizations; returns who has to wait for the limits or for lost answers.

    Raises what ``each_organization`` raises.
    """
    with doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="push")

        def push(link: Link) -> None:
            asked = _asked(work.partner, link, run_key=work.run.run_key, call_class="request")
            asked = replace(asked, week=work.week.monday)
            done = _push(doors, asked, link=link, run=run)
            reasons = blocked_by_reason(run, asked) if done.blocked else {}
            outcomes.pushed(link.organization, done, blocked_by=reasons, still_failed=still_failed(run, asked))

        links = linked_organizations(run, partner=work.partner.slug, direction="schedule", codes=organizations)
        return each_organization(links, push, failed=outcomes.not_pushed, patience=patience)


def push_due(doors: Doors, partner: Partner, *, run: RunName, patience: Patience) -> tuple[str, ...]:
    """Send what is due and fits now, or in a few seconds, those who wait longest first; the next tick goes on.
    Returns the organizations that were served: those for whom no time is left come first in the next tick.

    An organization that is stopped by an open cause is left alone until its cause is closed, one that is held without a
    word, one whose circuit is open until it may probe; the last is told once. Raises DatabaseAwayError.
    """
    with doors.connect("run") as conn:
        outcomes = Outcomes(conn, run, step="push")
        due, told = _who_may_go(conn, outcomes, _due_links(doors, partner))
        _share_out(doors, partner, due)
        ends_at, until_at = time.monotonic() + TICK_SECONDS, now() + timedelta(seconds=TICK_SECONDS)
        served: dict[str, None] = {}

        def push(link: Link) -> None:
            if time.monotonic() >= ends_at:
                return
            served[link.organization] = None
            left = len(due) - due.index(link)
            share = max(LEAST_SHARE_SECONDS, (ends_at - time.monotonic()) / left)
            asked = _asked(partner, link, run_key=run.run_key, call_class="tick")
            try:
                done = _push(doors, replace(asked, seconds=share), link=link, run=conn)
                # Asked only where something is open: each minute it would cost a look at all that ever failed.
                left = still_failed(conn, asked) if outcomes.knows_of_failed_visits(link.organization) else 0
                outcomes.pushed(link.organization, done, still_failed=left)
            except CircuitOpenError:
                outcomes.circuit_open(link.organization)
            except PartnerUnavailableError as error:
                # A cause of this organization's, told once (rule 9): the task that raised it would be red each minute.
                outcomes.failed(link, error)
            except (LimitReachedError, SettlingError) as wait:
                if wait.retry_at is not None and wait.retry_at < until_at:
                    raise

        # Not a moment later than its minute: with 60 calls a minute, the window opens just after the next tick begins.
        each_organization(due, push, failed=outcomes.failed, patience=replace(patience, until_at=until_at))
        return (*served, *told)


def _share_out(doors: Doors, partner: Partner, due: Sequence[Link]) -> None:
    """Where several organizations share a limit, each gets its part of it, also the one that comes last."""
    if len(due) > 1 and any(limit.scope in ("vendor", "endpoint") for limit in partner.limits):
        codes = [link.organization for link in due]
        with doors.connect("push") as conn:
            queue_up(
                conn,
                partner=partner.slug,
                organizations=codes,
                limits=limits_of(partner),
                call_class="tick",
                wanted=TICK_WANTS,
            )


def _who_may_go(conn: Connection, outcomes: Outcomes, links: Sequence[Link]) -> tuple[list[Link], list[str]]:
    """The links that nothing stops, and the organizations of which it was told now that their circuit is open."""
    if not links:
        return [], []
    stopped, found = outcomes.stopped(), stops(conn, partner=links[0].partner)
    may_go, told = [], []
    for link in (link for link in links if link.organization not in stopped):
        stop = found.of(link.organization)
        if stop is None:
            may_go.append(link)
        elif stop.state == "open" and outcomes.circuit_open(link.organization, only_news=True):
            told.append(link.organization)
    return may_go, told


def _due_links(doors: Doors, partner: Partner) -> list[Link]:
    facts = {"partner": partner.slug, "needs": list(needed_keys(partner))}
    with doors.connect("push") as conn:
        with translated_errors():
            rows = conn.execute(statement("delivery.due_organizations"), facts).fetchall()
        links = linked_organizations(conn, partner=partner.slug, direction="schedule")
    by_code = {link.organization: link for link in links}
    return [by_code[row["organization"]] for row in rows if row["organization"] in by_code]


def _asked(partner: Partner, link: Link, *, run_key: str, call_class: CallClass) -> PushWork:
    return PushWork(partner=partner, organization=link.organization, run_key=run_key, call_class=call_class)


def _push(doors: Doors, asked: PushWork, *, link: Link, run: Connection) -> PushCounts:
    names = {"organization": link.organization, "run_key": asked.run_key}
    # A connection of its own: its session lock says which claims have a living owner.
    with (
        heeding_stops(run, partner=asked.partner.slug, organization=link.organization),
        doors.connect("push") as conn,
        policies_noted(run, asked.partner, **names) as watched,
    ):
        access: Access = doors.access(link)

        def opened(gate: Gate) -> PartnerKind:
            return watched(open_kind(asked.partner, access, gate))

        return push_organization(conn, asked, open_kind=opened)
