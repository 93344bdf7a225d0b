"""Retry-After (RFC 9110, 10.2.3): delay seconds or an HTTP-date, bounded."""

from __future__ import annotations

import re
from datetime import datetime

from partner_sync.http.moments import LONGEST_SECONDS, Clock, http_date

#: Who was just turned away gains nothing by coming back at once, and would go round as fast as the network allows.
SHORTEST_SECONDS = 1
#: Also with a fraction, which some servers write; what is over a whole second counts as one more.
_SECONDS = re.compile(r"(\d+)(?:\.(\d*))?", re.ASCII)


def retry_at(text: str | None, clock: Clock) -> datetime | None:
    """When to try again, aware, from a second to an hour after ``clock.now``; None when nothing readable was said.

    A date that is past or a delay of 0 means a second from now. An epoch time, as some servers send, reads as an absurd
    delay and is bounded like one. Of a field that came twice the longest delay counts.
    """
    if text is None:
        return None
    plain = text.strip()
    delays = [_SECONDS.fullmatch(part.strip()) for part in plain.split(",")]
    if all(delays):
        moment = clock.after(max(_counted(delay) for delay in delays if delay))
    elif (dated := http_date(plain)) is not None:
        moment = clock.at(dated)
    else:
        return None
    return max(moment, clock.after(SHORTEST_SECONDS))


def _counted(delay: re.Match[str]) -> int:
    # A number of any length is a legal field value: it is cut before it is counted.
    digits, fraction = delay[1].lstrip("0") or "0", delay[2] or ""
    return int(digits) + bool(fraction.strip("0")) if len(digits) <= 6 else LONGEST_SECONDS


__all__ = ["LONGEST_SECONDS", "SHORTEST_SECONDS", "retry_at"]
