"""What arrived, counted by the partner itself. Paths are kept as templates, so no personal value is in a count."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

# The known folders of both makers; whatever else is asked for is named 'other'.
_COLLECTIONS = frozenset(
    {
        *("/v1/offices", "/v1/practitioners", "/v1/patients", "/v1/visits"),
        *("/api/facilities", "/api/staff", "/api/users", "/api/visits"),
    }
)


def template(path: str) -> str:
    """The path without its key."""
    if path in _COLLECTIONS:
        return path
    folder = path.rsplit("/", 1)[0]
    return f"{folder}/{{key}}" if folder in _COLLECTIONS else "other"


@dataclass
class Call:
    """One call that arrived; ``status`` stays None while it runs and when no answer was given."""

    number: int
    at_monotonic_seconds: float
    at: str
    method: str
    template: str
    organization: str | None
    idempotency_key: str | None
    status: int | None = None
    fault: str | None = None


class Received:
    """Every call in the order of arrival."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def arrived(self, method: str, path: str, organization: str | None, idempotency_key: str | None) -> Call:
        call = Call(
            number=len(self._calls) + 1,
            at_monotonic_seconds=time.monotonic(),
            at=datetime.now(UTC).isoformat(),
            method=method,
            template=template(path),
            organization=organization,
            idempotency_key=idempotency_key,
        )
        self._calls.append(call)
        return call

    def calls(self, *, after: int = 0, **wanted: str | None) -> list[dict[str, Any]]:
        """The calls after a number whose fields have the wanted values; None wants nothing."""
        return [
            asdict(call)
            for call in self._calls[after:]
            if all(value is None or getattr(call, name) == value for name, value in wanted.items())
        ]

    def statuses(self, organization: str | None) -> dict[str, int]:
        """How many calls ended with which status ('none' for no answer)."""
        return dict(Counter(str(call.status or "none") for call in self._calls if call.organization == organization))
