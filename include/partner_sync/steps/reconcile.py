"""Reconcile for some organizations: compare a week with what the partner holds, repair, and compare once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from partner_sync.circuit import heeding_stops
from partner_sync.delivery import comparison, reconcile
from partner_sync.delivery.comparison import Comparing, Round
from partner_sync.errors import ConfigError
from partner_sync.kinds.interface import Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.links import Link, linked_organizations
from partner_sync.partners.model import Partner
from partner_sync.partners.push import Push
from partner_sync.policies import policies_noted
from partner_sync.steps.organizations import Doors, Patience, Waiting, each_organization
from partner_sync.steps.outcomes import Outcomes, RunName
from partner_sync.steps.push import WeekWork, push_organizations
from partner_sync.weeks import Week

#: The steps' names in outcomes; the second comparison says what is left.
STEPS: dict[Round, str] = {1: "compare", 2: "compare_again"}


@dataclass(frozen=True, kw_only=True)
class ReconcileWork:
    """What is compared. ``repair``: a person has asked that differences be mended, so one that is found is no failure
    yet.
    """

    partner: Partner
    run: RunName
    week: Week
    repair: bool = False
    round: Round = 1

    @property
    def push(self) -> Push:
        if self.partner.push is None:
            raise ConfigError(problem=f"{self.partner.slug} takes no schedules: its file has no push.")
        return self.partner.push

    def of(self, organization: str) -> Comparing:
        """The comparison of one organization."""
        return reconcile.comparing(
            self.partner,
            organization=organization,
            week=self.week.monday,
            run_key=self.run.run_key,
            round_=self.round,
        )


def compare_organizations(
    doors: Doors, work: ReconcileWork, *, organizations: Sequence[str], patience: Patience
) -> Waiting | None:
    """Compare the week of these organizations; what has been seen is not asked for again.

    Returns who has to wait for the limits. Raises what ``each_organization`` raises.
    """
    with doors.connect("push") as conn, doors.connect("push") as ledger, doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step=STEPS[work.round])

        def compare(link: Link) -> None:
            access, what = doors.access(link), work.of(link.organization)
            names = {"organization": link.organization, "run_key": work.run.run_key}
            with (
                heeding_stops(run, partner=work.partner.slug, organization=link.organization),
                policies_noted(run, work.partner, **names) as watched,
            ):

                def opened(gate: Gate) -> PartnerKind:
                    return watched(open_kind(work.partner, access, gate))

                found = reconcile.compare_week(conn, ledger, partner=work.partner, what=what, open_kind=opened)
            outcomes.compared(link.organization, found, to_be_repaired=work.repair and work.round == 1)

        links = linked_organizations(run, partner=work.partner.slug, direction="schedule", codes=organizations)
        return each_organization(links, compare, failed=outcomes.failed, patience=patience)


def repair_organizations(
    doors: Doors, work: ReconcileWork, *, organizations: Sequence[str], requested_by: str
) -> tuple[str, ...]:
    """Ask for what differs to be sent anew; returns the organizations that have something to send now.

    Where nothing of what differs can be mended by sending, the organization stops here, for a person to look.
    """
    sure = reconcile.repeats_safely(work.push)
    repaired: list[str] = []
    with doors.connect("push") as conn, doors.connect("run") as run:
        outcomes = Outcomes(run, work.run, step="repair")
        for organization in organizations:
            found = comparison.repair(conn, work.of(organization), missing_is_sure=sure, requested_by=requested_by)
            if found is None or not found.differing:
                continue
            outcomes.repair_begun(organization, found)
            if found.repaired:
                repaired.append(organization)
    return tuple(repaired)


def push_repairs(
    doors: Doors, work: ReconcileWork, *, organizations: Sequence[str], patience: Patience
) -> Waiting | None:
    """Send what was repaired, by the usual push of each week that it belongs to; returns who has to wait.

    Raises what ``each_organization`` raises.
    """
    with doors.connect("push") as conn:
        weeks = comparison.repaired_weeks(
            conn, partner=work.partner.slug, run_key=work.run.run_key, organizations=organizations
        )
    waits = [
        push_organizations(
            doors,
            WeekWork(partner=work.partner, run=work.run, week=Week(monday)),
            organizations=organizations,
            patience=patience,
        )
        for monday in weeks
    ]
    return _all_that_wait([wait for wait in waits if wait is not None])


def _all_that_wait(waits: Sequence[Waiting]) -> Waiting | None:
    if not waits:
        return None
    first = min(waits, key=lambda wait: wait.retry_at)
    codes = dict.fromkeys(code for wait in waits for code in wait.organizations)
    return replace(first, organizations=tuple(codes))
