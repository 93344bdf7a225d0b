"""Release: the first step of a push. Finalized offices are released; a dry run looks at the same and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from partner_sync.database import Connection
from partner_sync.delivery.plan import SAMPLES, Plan, masked_bodies, plan_push, sample_calls
from partner_sync.delivery.release import Mode, OfficeWeek, ReleaseReport, asked_by_run, release_week, review_week
from partner_sync.delivery.requeue import FailedWeek, plan_failed, requeue_failed
from partner_sync.errors import ConfigError
from partner_sync.kinds.interface import Access, Quota
from partner_sync.kinds.registry import open_kind
from partner_sync.links import Link, linked_organizations
from partner_sync.partners.model import Partner
from partner_sync.steps.organizations import Doors
from partner_sync.steps.outcomes import Outcomes, RunName
from partner_sync.weeks import Week


@dataclass(frozen=True, kw_only=True)
class ReleaseWork:
    """What is to be released, by whom and by which run."""

    partner: Partner
    links: tuple[Link, ...]
    week: Week
    mode: Mode
    requested_by: str
    run: RunName

    @property
    def organizations(self) -> tuple[str, ...]:
        return tuple(link.organization for link in self.links)

    @property
    def failed(self) -> FailedWeek:
        """What the mode ``failed`` asks for anew."""
        return FailedWeek(partner=self.partner.slug, week=self.week, run_key=self.run.run_key)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a release would come to: its offices, and the plan of the push."""

    report: ReleaseReport
    plan: Plan

    def lines(self) -> list[str]:
        """What people are told, in both languages; our own codes and ids only."""
        now = datetime.now(UTC)
        return [*self.plan.lines("ja", now=now), *self.plan.lines("en", now=now), *_told(self.report)]


def links_to_release(doors: Doors, *, partner: str, codes: Sequence[str], weekly_only: bool) -> tuple[Link, ...]:
    """The links that a push is for; ``weekly_only``: those whose release mode is weekly (design, rule 5).

    Raises UnknownOrganizationError and NotLinkedError.
    """
    with doors.connect("release") as conn:
        links = linked_organizations(conn, partner=partner, direction="schedule", codes=codes)
    return tuple(link for link in links if link.release_mode == "weekly" or not weekly_only)


def plan_release(doors: Doors, work: ReleaseWork) -> Planned:
    """Which offices would be released, and the plan of the push; writes nothing. Raises NothingFinalizedError.

    A run that has asked already, and is run again, starts no new generation: its resend is planned as what is left.
    """
    with doors.connect("release") as conn:
        report = review_week(conn, organizations=work.organizations, week=work.week)
        if work.mode == "failed":
            plan = plan_failed(conn, work.failed, partner=work.partner, organizations=report.organizations)
            return Planned(report=report, plan=plan)
        resend = work.mode == "resend" and not asked_by_run(
            conn,
            partner=work.partner.slug,
            organizations=report.organizations,
            week=work.week,
            run_key=work.run.run_key,
        )
        plan = plan_push(conn, partner=work.partner, organizations=report.organizations, week=work.week, resend=resend)
    return Planned(report=report, plan=plan)


def release_organizations(doors: Doors, work: ReleaseWork) -> tuple[str, ...]:
    """Release the finalized offices; a retry adds nothing. Gives their organizations. Raises NothingFinalizedError."""
    with doors.connect("release") as conn:
        report = release_week(
            conn,
            partner=work.partner.slug,
            organizations=work.organizations,
            week=work.week,
            mode=work.mode,
            requested_by=work.requested_by,
            run_key=work.run.run_key,
        )
    with doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="release")
        for organization in work.organizations:
            released, skipped = (_count(offices, organization) for offices in (report.released, report.skipped))
            outcomes.released(organization, offices=released, not_finalized=skipped)
    return report.organizations


def requeue_organizations(doors: Doors, work: ReleaseWork) -> tuple[str, ...]:
    """Ask anew for what was rejected or given up; releases nothing. Gives the organizations that have any."""
    requeued: dict[str, int] = {}
    with doors.connect("release") as conn:
        for code in work.organizations:
            requeued[code] = requeue_failed(conn, work.failed, organization=code, requested_by=work.requested_by)
    with doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="release")
        for code, visits in requeued.items():
            outcomes.requeued(code, visits)
    return tuple(code for code, visits in requeued.items() if visits)


def dry_run(doors: Doors, work: ReleaseWork) -> list[str]:
    """The plan, for each organization, and masked bodies of a few visits; writes nothing, calls nobody.

    Raises NothingFinalizedError.
    """
    planned = plan_release(doors, work)
    told = planned.lines()
    told += [
        f"{one.organization}: {one.visits:,} visits, {sum(one.blocked.values()):,} blocked"
        for one in planned.plan.organizations
    ]
    with doors.connect("release") as conn:
        return [*told, *_samples(conn, work=work, plan=planned.plan)]


def _count(offices: Sequence[OfficeWeek], organization: str) -> int:
    return sum(office.organization == organization for office in offices)


def _told(report: ReleaseReport) -> Iterator[str]:
    yield f"finalized / FIX済み: {_offices(report.released)}"
    if report.skipped:
        yield f"not finalized, skipped / 未FIXのため対象外: {_offices(report.skipped)}"


def _offices(offices: Sequence[OfficeWeek]) -> str:
    # An office's name is a value of the partner's record: our own ids only (design, rule 15).
    by_organization: dict[str, list[str]] = {}
    for office in offices:
        by_organization.setdefault(office.organization, []).append(str(office.office_id))
    return "; ".join(f"{code}: office {', '.join(ids)}" for code, ids in by_organization.items())


def _samples(conn: Connection, *, work: ReleaseWork, plan: Plan) -> Iterator[str]:
    wanted = [visit for one in plan.organizations for visit in one.sample_visit_ids][:SAMPLES]
    if not wanted:
        return
    calls = sample_calls(conn, partner=work.partner.slug, visits=wanted)
    # Bodies need no key: one organization's wrong one must not hide the plan of the others.
    with closing(open_kind(work.partner, _NOBODYS_ACCESS, _ClosedGate())) as kind:
        for call, body in zip(calls, masked_bodies(kind, calls), strict=True):
            yield f"{call.visit_id}: {json.dumps(body, ensure_ascii=False)}"


_NOBODYS_ACCESS = Access(base_url="https://dry-run.invalid", login="nobody", secret="-")  # noqa: S106


class _ClosedGate:
    """The gate of a dry run: nothing leaves."""

    def take(self, endpoint: str) -> None:
        raise ConfigError(problem=f"A dry run makes no call, and was about to make {endpoint}.")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
        """Nothing was asked, so nothing can be answered."""

    def told(self, quotas: Sequence[Quota]) -> None:
        """As above."""

    def answered(self, *, reached: bool) -> None:
        """As above."""
