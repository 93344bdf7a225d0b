"""A person lets a record in although it fails a critical expectation; the next validation does it (decision 0031)."""

from __future__ import annotations

from partner_sync.database import Connection, translated_errors
from partner_sync.statements import statement

_WITHOUT_REASON = "release_without_reason"
#: As quarantine.release holds it.
_REASON_LENGTHS = range(5, 501)


def release(conn: Connection, quarantine_id: int, *, who: str, reason: str, content: str | None = None) -> str | None:
    """Release an open quarantine row as it is now, as ``sync_page``; returns None, or why not as a catalogue's code.

    ``content``: what ``quarantine.record_content`` gave when the record was looked at; another one is refused.
    ``who`` is a person's login whose right the caller has checked. Audited in the same transaction.
    Raises DatabaseAwayError, DatabaseRefusedError.
    """
    if len(reason.strip()) not in _REASON_LENGTHS:
        return _WITHOUT_REASON
    facts = {"id": quarantine_id, "who": who, "reason": reason.strip(), "content": content}
    with translated_errors(), conn.transaction():
        refusal = refusal_of(conn, quarantine_id, content=content)
        if refusal is not None:
            return refusal
        row = conn.execute(statement("release_record.release"), facts).fetchone()
        released = bool(row and row["released"])
    # Another person was quicker: what they did is the reason now.
    return None if released else refusal_of(conn, quarantine_id, content=content)


def refusal_of(conn: Connection, quarantine_id: int, *, content: str | None = None) -> str | None:
    """Why a row cannot be released, as a code of the catalogue; None when it can."""
    with translated_errors():
        row = conn.execute(statement("release_record.refusal"), {"id": quarantine_id, "content": content}).fetchone()
    refusal: str | None = row["refusal"] if row else None
    return refusal
