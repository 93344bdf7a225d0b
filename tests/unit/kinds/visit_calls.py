"""A visit on its way, for the tests of kinds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from partner_sync.kinds.interface import VisitCall

START = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)


def visit(**changes: Any) -> VisitCall:
    values = {
        "patient_key": "P-1", "start_at": START, "end_at": START + timedelta(hours=1), "status": "planned",
        **changes.pop("values", {}),
    }  # fmt: skip
    facts: dict[str, Any] = {
        "visit_id": "v-1", "action": "put", "week": date(2026, 11, 23), "idempotency_key": "key-1", "values": values,
    }  # fmt: skip
    return VisitCall(**{**facts, **changes})
