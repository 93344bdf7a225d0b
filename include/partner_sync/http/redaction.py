"""What of a call may be written down: the origin, the path template, the names of parameters; never a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import httpx

#: Header fields whose values carry neither secrets nor patients.
_OPEN_HEADERS = frozenset(
    {
        "content-length", "content-type", "date", "retry-after", "ratelimit", "ratelimit-policy", "server",
        "idempotent-replayed",
    }
)  # fmt: skip
MASK = "***"


def origin_of(url: str) -> str:
    """Scheme, host and port; without login, path or query."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return MASK
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}" if parts.host else MASK


def described(origin: str, endpoint: str, *, parameters: Iterable[str] = ()) -> str:
    """One call in words for the log: 'GET http://host/v1/patients?limit=***&page=***'."""
    method, _, path = endpoint.partition(" ")
    query = "&".join(f"{name}={MASK}" for name in sorted(parameters))
    return f"{method} {origin}{path}{'?' if query else ''}{query}"


def open_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The header fields by lower-case name, masked unless they are on the list of harmless ones."""
    return {name.lower(): value if name.lower() in _OPEN_HEADERS else MASK for name, value in headers.items()}
