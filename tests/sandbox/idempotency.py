"""Idempotency keys after draft-ietf-httpapi-idempotency-key-07: replay, 422 for another payload, 409 while running."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sandbox.answers import Answer, RefusedError


@dataclass
class _Entry:
    fingerprint: str
    answer: Answer | None = None


def fingerprint(method: str, path: str, body: bytes) -> str:
    return hashlib.sha256(b"\n".join([method.encode(), path.encode(), body])).hexdigest()


class IdempotencyKeys:
    """The keys of every organization with the answers that were given."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._running: set[tuple[str, str]] = set()

    def begin(self, organization: str, key: str, request: str) -> Answer | None:
        """The stored answer to replay, or None: then the caller works and ends with ``finish`` or ``give_up``.

        Raises RefusedError 422 when the key came with another request, 409 while the first one is running.
        """
        entry = self._entries.setdefault((organization, key), _Entry(request))
        if entry.fingerprint != request:
            raise RefusedError(422, "idempotency_key_reused")
        if entry.answer is not None:
            return entry.answer.with_headers(("Idempotent-Replayed", "true"))
        if (organization, key) in self._running:
            raise RefusedError(409, "idempotency_key_in_progress")
        self._running.add((organization, key))
        return None

    def finish(self, organization: str, key: str, request: str, answer: Answer) -> None:
        self._running.discard((organization, key))
        self._entries[organization, key] = _Entry(request, answer)

    def give_up(self, organization: str, key: str) -> None:
        """The work broke: the key is free again."""
        self._running.discard((organization, key))
        self._entries.pop((organization, key), None)
