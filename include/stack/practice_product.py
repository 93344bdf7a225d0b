"""The practice scheduling product of the demo: it plans weeks for the people that came in, and closes and edits them.

It writes through the product's own door (login sync_product, schedule.apply), as a product with its own database would.
"""

from __future__ import annotations

from partner_sync.database import Connection, translated_errors
from partner_sync.statements import statement
from partner_sync.weeks import Week


def has_patients(product: Connection, organization: str) -> bool:
    """Whether master data of an organization has come in already."""
    return bool(_value(product, "has_patients", column="found", organization=organization))


def plan_weeks(product: Connection, organization: str, *, weeks: dict[Week, bool]) -> int:
    """Plan weeks (True: they were performed already); returns how many visits are new."""
    changed = (
        _value(product, "plan_week", column="changed", organization=organization, week=week.monday, performed=performed)
        for week, performed in weeks.items()
    )
    return sum(int(str(each)) for each in changed)


def finalize(product: Connection, organization: str, *, week: Week, leave_open: int = 0) -> None:
    """Close a week for every office with visits, but for the last ``leave_open`` ones."""
    _value(product, "finalize_week", column="apply", organization=organization, week=week.monday, leave_open=leave_open)


def edit(product: Connection, organization: str, *, week: Week) -> int:
    """Change some visits of a finalized week: one moved, one with a note, one cancelled; returns how many."""
    return int(str(_value(product, "edit_visits", column="changed", organization=organization, week=week.monday)))


def _value(product: Connection, name: str, *, column: str, **facts: object) -> object:
    with translated_errors():
        row = product.execute(statement(f"practice_product.{name}"), facts).fetchone()
    return row[column] if row else 0
