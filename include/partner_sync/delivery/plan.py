"""The plan of a push: rows, calls, seconds under the limits, and what is blocked; computed without sending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.claims import visit_call
from partner_sync.delivery.push import needed_keys
from partner_sync.kinds.interface import PartnerKind, VisitCall
from partner_sync.limits import limits_of, seconds_under
from partner_sync.masking import masked
from partner_sync.partners.model import Partner
from partner_sync.statements import statement
from partner_sync.weeks import TOKYO, Week

SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class OrganizationPlan:
    """What a push of a week comes to for one organization: ``visits`` would be sent, ``blocked`` ones cannot."""

    organization: str
    visits: int
    blocked: int
    sample_visit_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a push of a week comes to. ``seconds`` is the least time that the limits allow for its calls."""

    week: Week
    organizations: tuple[OrganizationPlan, ...]
    seconds: float

    @property
    def visits(self) -> int:
        return sum(one.visits for one in self.organizations)

    def sentence(self, now: datetime) -> str:
        """'week ...: 1,240 visits, 11 minutes, done by 18:21 (Asia/Tokyo)'."""
        done_at = (now + timedelta(seconds=self.seconds)).astimezone(TOKYO)
        minutes = -(-self.seconds // 60)
        blocked = sum(one.blocked for one in self.organizations)
        return (
            f"{self.week.describe()}: {self.visits:,} visits, as many calls, about {minutes:.0f} minutes "
            f"under the limits, done by {done_at:%H:%M} (Asia/Tokyo); {blocked:,} blocked"
        )


def plan_push(
    conn: Connection, *, partner: Partner, organizations: Sequence[str], week: Week, resend: bool = False
) -> Plan:
    """The plan for the finalized offices of these organizations, as login sync_release; writes nothing."""
    plans = tuple(_organization_plan(conn, partner, code, week=week, resend=resend) for code in organizations)
    calls = {plan.organization: plan.visits for plan in plans}
    seconds = seconds_under(limits_of(partner), calls, start_at=datetime.now(UTC))
    return Plan(week=week, organizations=plans, seconds=seconds)


def _organization_plan(
    conn: Connection, partner: Partner, organization: str, *, week: Week, resend: bool
) -> OrganizationPlan:
    facts = {
        "partner": partner.slug,
        "organization": organization,
        "week": week.monday,
        "resend": resend,
        "needs": list(needed_keys(partner)),
    }
    with translated_errors():
        rows = conn.execute(statement("release.releasable_visits"), facts).fetchall()
    sendable = [row["visit_id"] for row in rows if not row["blocked"]]
    return OrganizationPlan(
        organization=organization,
        visits=len(sendable),
        blocked=len(rows) - len(sendable),
        sample_visit_ids=tuple(sendable[:SAMPLES]),
    )


def sample_calls(conn: Connection, *, partner: str, visits: Sequence[str]) -> tuple[VisitCall, ...]:
    """The calls that would be made for these visits, as they stand now."""
    facts = {"partner": partner, "visits": list(visits)}
    with translated_errors():
        return tuple(visit_call(row) for row in conn.execute(statement("release.sample_calls"), facts))


def masked_bodies(kind: PartnerKind, calls: Sequence[VisitCall]) -> list[Mapping[str, object]]:
    """What the request bodies look like: field names, types and lengths; never a value (design, rule 15)."""
    return [{name: masked(value) for name, value in kind.request_body(call).items()} for call in calls]
