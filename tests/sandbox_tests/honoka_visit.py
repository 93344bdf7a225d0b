"""A visit as ほのか記録 takes it, and the call that puts it there."""

from __future__ import annotations

from typing import Any

import httpx

VISIT = {
    "office_id": "O-001",
    "patient_id": "P-000001",
    "staff_id": "S-0001",
    "service_code": "111111",
    "start_at": "2026-11-25T09:00:00+09:00",
    "end_at": "2026-11-25T10:00:00+09:00",
    "status": "planned",
    "note": None,
}


def put(
    client: httpx.Client, key: str = "visit-1", idempotency_key: str | None = None, **changes: Any
) -> httpx.Response:
    """Put the visit under our key; unless another idempotency key is given, that is the key as well."""
    headers = {"Idempotency-Key": idempotency_key or key}
    return client.put(f"/v1/visits/{key}", json=VISIT | changes, headers=headers)
