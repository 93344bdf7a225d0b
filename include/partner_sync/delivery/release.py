"""Release: a planner (or the link's mode) says that the finalized week of an office may leave (design, rule 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import NothingFinalizedError
from partner_sync.statements import statement
from partner_sync.weeks import Week

Mode = Literal["changes", "resend", "weekly", "failed"]


@dataclass(frozen=True, kw_only=True)
class OfficeWeek:
    """One office in one week: its state, and how many visits stand in it."""

    organization: str
    office_id: int
    name: str
    finalized: bool
    visits: int


@dataclass(frozen=True, kw_only=True)
class ReleaseReport:
    """Which offices were released, and which were skipped because they are not finalized."""

    week: Week
    released: tuple[OfficeWeek, ...]
    skipped: tuple[OfficeWeek, ...]

    @property
    def organizations(self) -> tuple[str, ...]:
        """The organizations with a released office."""
        return tuple(dict.fromkeys(office.organization for office in self.released))


def review_week(conn: Connection, *, organizations: Sequence[str], week: Week) -> ReleaseReport:
    """What a release of this week would release and skip, without writing anything.

    Raises NothingFinalizedError when no office of these organizations has finalized the week.
    """
    offices = [office for organization in organizations for office in _offices(conn, organization, week)]
    report = ReleaseReport(
        week=week,
        released=tuple(office for office in offices if office.finalized),
        skipped=tuple(office for office in offices if not office.finalized),
    )
    if not report.released:
        raise NothingFinalizedError(week=week.describe(), organizations=", ".join(organizations) or "no organization")
    return report


def release_week(
    conn: Connection,
    *,
    partner: str,
    organizations: Sequence[str],
    week: Week,
    mode: Mode,
    requested_by: str,
    run_key: str,
) -> ReleaseReport:
    """Release the finalized offices of a week, as login sync_release; a retry of the same run adds nothing.

    ``resend`` starts a new generation: everything is sent again. Raises NothingFinalizedError.
    """
    report = review_week(conn, organizations=organizations, week=week)
    for organization in report.organizations:
        offices = [office.office_id for office in report.released if office.organization == organization]
        with translated_errors():
            # One organization a transaction: a request locks its organization against captures.
            conn.execute(
                statement("release.request_push"),
                {
                    "partner": partner,
                    "organization": organization,
                    "office_ids": offices,
                    "week": week.monday,
                    "mode": mode,
                    "requested_by": requested_by,
                    "run_key": run_key,
                },
            )
    return report


def asked_by_run(conn: Connection, *, partner: str, organizations: Sequence[str], week: Week, run_key: str) -> bool:
    """Whether this run has asked for the week of all of them already: when it does again nothing is sent anew."""
    facts = {"partner": partner, "organizations": list(organizations), "week": week.monday, "run_key": run_key}
    with translated_errors():
        row = conn.execute(statement("release.asked_by_run"), facts).fetchone()
    return bool(row and row["asked"])


def _offices(conn: Connection, organization: str, week: Week) -> list[OfficeWeek]:
    facts = {"organization": organization, "week": week.monday}
    with translated_errors():
        rows = conn.execute(statement("release.offices_of_week"), facts).fetchall()
    return [OfficeWeek(organization=organization, **row | {"name": row["name"] or ""}) for row in rows]
