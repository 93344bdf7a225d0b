"""``resend failed``: what of a week was rejected or given up is asked for anew, after its cause is mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.plan import Plan, plan_of, plan_organization
from partner_sync.partners.model import Partner
from partner_sync.statements import statement
from partner_sync.weeks import Week

#: Why a visit goes anew, as sync.requeue keeps it.
REASON = "failed"


@dataclass(frozen=True, kw_only=True)
class FailedWeek:
    """The failed visits of one week that one run asks for anew; only released, finalized offices have any."""

    partner: str
    week: Week
    run_key: str


def plan_failed(conn: Connection, failed: FailedWeek, *, partner: Partner, organizations: Sequence[str]) -> Plan:
    """What a push of the failed visits would come to, as login sync_release; writes nothing."""
    visits = {code: failed_visits(conn, failed, organization=code) for code in organizations}
    plans = [plan_organization(conn, partner, code, week=failed.week, only=visits[code]) for code in organizations]
    return plan_of(conn, partner, week=failed.week, plans=plans)


def failed_visits(conn: Connection, failed: FailedWeek, *, organization: str) -> list[str]:
    """The visits of an organization that stand rejected or given up, with those that this run has asked for already."""
    with translated_errors():
        rows = conn.execute(statement("requeue.failed"), _facts(failed, organization)).fetchall()
    return [row["visit_id"] for row in rows]


def requeue_failed(conn: Connection, failed: FailedWeek, *, organization: str, requested_by: str) -> int:
    """Ask for an organization's failed visits anew, as login sync_release; returns how many. A retry adds nothing."""
    visits = failed_visits(conn, failed, organization=organization)
    facts = _facts(failed, organization) | {"visits": visits, "reason": REASON, "requested_by": requested_by}
    with translated_errors():
        row = conn.execute(statement("requeue.requeue"), facts).fetchone() if visits else None
    return int(row["requeued"]) if row else 0


def _facts(failed: FailedWeek, organization: str) -> dict[str, object]:
    return {
        "partner": failed.partner,
        "organization": organization,
        "week": failed.week.monday,
        "run_key": failed.run_key,
    }
