"""What an answer that is no success says: when to come again, for whom, and what it complains about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from partner_sync.http.moments import Clock
from partner_sync.http.outcomes import Said
from partner_sync.http.problems import limit_problem
from partner_sync.http.quotas import exhausted_until
from partner_sync.http.retry_after import SHORTEST_SECONDS, retry_at
from partner_sync.kinds.interface import Quota
from partner_sync.partners.model import Partner
from partner_sync.partners.paths import value_at
from partner_sync.partners.push import Push

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SCOPES = frozenset({"organization", "vendor", "office", "endpoint"})


def said_in(
    partner: Partner, response: httpx.Response, body: bytes | None, *, clock: Clock, quotas: Sequence[Quota]
) -> Said:
    """The facts of a refusal; ``body`` is None when it could not be read.

    A refusal for limits that names no time may still say when its quotas are filled up again.
    """
    document = _json_or_none(body)
    problem = limit_problem(response.headers.get("Content-Type"), document)
    again_at = retry_at(response.headers.get("Retry-After"), clock)
    if again_at is None and (problem or response.status_code == 429):
        filled_at = exhausted_until(quotas, problem.violated if problem else ())
        again_at = filled_at and max(filled_at, clock.after(SHORTEST_SECONDS))
    scope = value_at(document, partner.limit_scope_at) if partner.limit_scope_at else None
    return Said(
        status=response.status_code,
        retry_at=again_at,
        limited=problem is not None,
        scope=scope if isinstance(scope, str) and scope in _SCOPES else None,
        fields=_complaints(partner, document),
    )


def _json_or_none(body: bytes | None) -> Any:
    try:
        return orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return None


def _complaints(partner: Partner, document: object) -> tuple[str, ...]:
    """'field: code' for each complaint; only names that we sent and plain codes: texts could quote a patient."""
    shape = partner.push.errors if partner.push else None
    listed = value_at(document, shape.at) if shape else None
    if shape is None or partner.push is None or not isinstance(listed, list):
        return ()
    found = []
    for each in listed[:20]:
        name, code = value_at(each, shape.field), value_at(each, shape.code) if shape.code else None
        found.append(complaint(partner.push, name, code))
    return tuple(found)


def complaint(push: Push, name: object, code: object) -> str:
    """'field: code' of what a partner complains about: only a name that we sent, and a plain code."""
    known = name if isinstance(name, str) and name in push.map else "another field"
    plain = code if isinstance(code, str) and _CODE.fullmatch(code) else "refused"
    return f"{known}: {plain}"
