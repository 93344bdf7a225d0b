"""Partners for tests, without a file: ``made(paging={...}, push={...})``."""

from __future__ import annotations

from typing import Any

from partner_sync.partners.model import Partner

LIST: dict[str, Any] = {
    "path": "/v1/patients",
    "records_at": "data",
    "paging": {"style": "page_number", "size": "limit", "size_value": 2},
    "key": "id",
    "map": {"family_name": "name", "birth_date": {"from": "birth", "convert": "date"}},
}
PUSH: dict[str, Any] = {
    "put": {"method": "PUT", "path": "/v1/visits/{key}", "idempotency_header": "Idempotency-Key"},
    "withdraw": {"method": "DELETE", "path": "/v1/visits/{key}"},
    "read_back": {"path": "/v1/visits/{key}", "record_at": "data"},
    "errors": {"at": "errors", "field": "field", "code": "code"},
    "map": {
        "patient": "patient_key",
        "when.start": {"from": "start_at", "convert": "datetime", "zone": "Asia/Tokyo"},
        "status": {"from": "status", "convert": "code_map", "codes": "visit_status_digit"},
    },
}


def document(*, entity: dict[str, Any] | None = None, push: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """A whole partner file as data; ``entity`` and ``push`` replace keys of the patient list and of the push."""
    return {
        "name": {"ja": "試し", "en": "Trial"},
        "owner": {"team": "integration"},
        "kind": "rest_json",
        "auth": {"style": "bearer"},
        "timeouts": {"connect_seconds": 1, "read_seconds": 1, "settle_after_seconds": 3},
        "limits": [{"scope": "organization", "requests": 60, "per_seconds": 60}],
        "limit_scope_at": "error.scope",
        "master": {"entities": {"patient": {**LIST, **(entity or {})}}},
        "push": {**PUSH, **(push or {})},
        **top,
    }


def made(*, entity: dict[str, Any] | None = None, push: dict[str, Any] | None = None, **top: Any) -> Partner:
    return Partner.model_validate({"slug": "trial", **document(entity=entity, push=push, **top)})
