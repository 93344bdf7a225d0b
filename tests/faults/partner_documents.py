"""Partner files, as data, for the styles of ``judge.visit_partner`` and for one limit of ``judge.counting_partner``."""

from __future__ import annotations

from typing import Any

from partner_sync.partners.model import Partner

#: Short, so that what is unknown settles soon; still longer than a call and its work ever take here.
TIMEOUTS = {"connect_seconds": 0.5, "read_seconds": 1.0, "settle_after_seconds": 2.0}
WIDE_LIMIT = {"scope": "organization", "requests": 1_000_000, "per_seconds": 60}

_MAP: dict[str, Any] = {
    "external_id": "visit_id",
    "office": "office_key",
    "patient": "patient_key",
    "status": "status",
    "start_at": {"from": "start_at", "convert": "datetime"},
    "end_at": {"from": "end_at", "convert": "datetime"},
    "note": "note",
}
_KEYED = {"idempotency_header": "Idempotency-Key"}
_BY_REF: dict[str, Any] = {
    "post": {"method": "POST", "path": "/visits", "accepted_at": "ref"},
    "put": {"method": "PUT", "path": "/visits/{ref}", "accepted_at": "ref"},
    "withdraw": {"method": "DELETE", "path": "/visits/{ref}"},
    "partner_ref": "ref",
}
PUSHES: dict[str, dict[str, Any]] = {
    "keyed": _BY_REF | {call: _BY_REF[call] | _KEYED for call in ("post", "put", "withdraw")},
    "read_back": _BY_REF
    | {
        "read_back": {
            "path": "/visits",
            "parameters": {"external_id": "visit_id"},
            "records_at": "visits",
            "key_at": "external_id",
            "ref_at": "ref",
        }
    },
    "named": {
        "put": {"method": "PUT", "path": "/visits/{key}"},
        "withdraw": {"method": "DELETE", "path": "/visits/{key}"},
        "read_back": {"path": "/visits/{key}", "record_at": "visit"},
    },
}


def document_of(*, style: str = "named", **changes: Any) -> dict[str, Any]:
    """A partner file of that style, without any limit that would be felt; ``changes`` are its top-level keys."""
    document: dict[str, Any] = {
        "name": {"ja": "審判", "en": "Judge"},
        "owner": {"team": "integration"},
        "kind": "rest_json",
        "auth": {"style": "bearer"},
        "timeouts": TIMEOUTS,
        "limits": [WIDE_LIMIT],
        "concurrency": 4,
        "push": {**PUSHES[style], "map": _MAP, "max_attempts": 50},
    }
    return document | changes


def partner_of(slug: str, *, style: str = "named", **changes: Any) -> Partner:
    """The same as a model."""
    return Partner.model_validate({"slug": slug} | document_of(style=style, **changes))
