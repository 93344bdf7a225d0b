"""Retry-After (RFC 9110, 10.2.3): delay seconds or an HTTP-date, bounded."""

from __future__ import annotations

from datetime import datetime

from partner_sync.http.moments import LONGEST_SECONDS, Clock, http_date

#: Who was just turned away gains nothing by coming back at once, and would go round as fast as the network allows.
SHORTEST_SECONDS = 1


def retry_at(text: str | None, clock: Clock) -> datetime | None:
    """When to try again, aware, from a second to an hour after ``clock.now``; None when nothing readable was said.

    A date that is past or a delay of 0 means a second from now. An epoch time, as some servers send, reads as an absurd
    delay and is bounded like one.
    """
    if text is None:
        return None
    plain = text.strip()
    if plain.isascii() and plain.isdigit():
        # A number of any length is a legal field value: it is cut before it is counted.
        digits = plain.lstrip("0") or "0"
        moment = clock.after(int(digits) if len(digits) <= 6 else LONGEST_SECONDS)
    elif (dated := http_date(plain)) is not None:
        moment = clock.at(dated)
    else:
        return None
    return max(moment, clock.after(SHORTEST_SECONDS))


__all__ = ["LONGEST_SECONDS", "SHORTEST_SECONDS", "retry_at"]
