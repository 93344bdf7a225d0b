"""The problem types of draft-ietf-httpapi-ratelimit-headers-11 in an application/problem+json body (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass

from partner_sync.http.quotas import plain_name

_BASE = "https://iana.org/assignments/http-problem-types#"
_TYPES = frozenset({"quota-exceeded", "temporary-reduced-capacity", "abnormal-usage-detected"})
_MOST_NAMES = 16


@dataclass(frozen=True, kw_only=True)
class LimitProblem:
    """The partner says that it turned the call away for its limits; ``violated`` names the policies."""

    kind: str
    violated: tuple[str, ...] = ()


def limit_problem(content_type: str | None, document: object) -> LimitProblem | None:
    """What the body says about limits; None when it is no such problem."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/problem+json" or not isinstance(document, dict):
        return None
    said = document.get("type")
    kind = said.removeprefix(_BASE) if isinstance(said, str) and said.startswith(_BASE) else None
    if kind not in _TYPES:
        return None
    names = document.get("violated-policies")
    listed = names[:_MOST_NAMES] if isinstance(names, list) else []
    return LimitProblem(kind=kind, violated=tuple(plain_name(name) for name in listed if isinstance(name, str)))
