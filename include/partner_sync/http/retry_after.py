"""Retry-After (RFC 9110, 10.2.3): delay seconds or an HTTP-date, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: No answer makes us wait longer than this in one step; after it we ask again and are told again.
LONGEST_SECONDS = 3600


def retry_at(text: str | None, now: datetime) -> datetime | None:
    """When to try again, aware, between ``now`` and an hour later; None when nothing readable was said.

    A date that is past or a delay of 0 means now. An epoch time, as some servers send, reads as an absurd delay and
    is bounded like one.
    """
    if text is None:
        return None
    plain = text.strip()
    moment = _after(plain, now) if plain.isascii() and plain.isdigit() else _dated(plain)
    if moment is None:
        return None
    return min(max(moment, now), now + timedelta(seconds=LONGEST_SECONDS))


def _after(digits: str, now: datetime) -> datetime:
    # A number of any length is a legal field value: it is cut before it is counted.
    seconds = int(digits) if len(digits) <= 6 else LONGEST_SECONDS
    return now + timedelta(seconds=min(seconds, LONGEST_SECONDS))


def _dated(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
