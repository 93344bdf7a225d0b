"""Times that an answer names, read by the partner's clock and bounded: no answer makes us wait for over an hour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: No answer makes us wait longer than this in one step; after it we ask again and are told again.
LONGEST_SECONDS = 3600
#: A Date field further off than this is no clock that is fast or slow, but one that was never set.
_MOST_AHEAD = timedelta(days=1)

_NUMBER = re.compile(r"(\d{1,20})(?:\.\d{0,20})?", re.ASCII)
#: Delays end and Unix times begin here: 10^9 seconds are 31 years, and were 2001-09-09.
_FIRST_UNIX_SECOND = 10**9
#: Unix times in seconds end here (in the year 5138); beyond are milliseconds, microseconds, nanoseconds.
_LAST_UNIX_SECOND = 10**11


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Our time (aware) when an answer came, and how far the partner's clock was ahead of ours by its Date field."""

    now: datetime
    ahead: timedelta = timedelta()

    def after(self, seconds: float) -> datetime:
        """The moment so many seconds from now, between now and an hour later."""
        return self.now + timedelta(seconds=min(max(seconds, 0.0), LONGEST_SECONDS))

    def at(self, partners: datetime) -> datetime:
        """A moment of the partner's clock on ours, between now and an hour later; a past one is now."""
        return self.after((partners - self.now - self.ahead).total_seconds())


def clock_of(date_field: str | None, now: datetime) -> Clock:
    """The clock for an answer with this Date field (RFC 9110, 6.6.1)."""
    said = http_date(date_field) if date_field else None
    ahead = said - now if said else timedelta()
    return Clock(now=now, ahead=ahead if abs(ahead) <= _MOST_AHEAD else timedelta())


def http_date(text: str) -> datetime | None:
    """An HTTP-date in any of its three forms (RFC 9110, 5.6.7), aware; None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def reset_at(text: str, clock: Clock) -> datetime | None:
    """When a quota is filled up again: servers send a delay in seconds, a Unix time in seconds or finer, or a date.

    The forms are told apart by size: no delay is as long as any Unix time is large.
    """
    plain = text.strip()
    if (number := _NUMBER.match(plain)) is not None and plain[number.end() :].lstrip()[:1] in {"", ",", ";"}:
        return _counted(float(number[0]), clock)
    moment = http_date(plain) or _iso_date(plain)
    return None if moment is None else clock.at(moment)


def _counted(number: float, clock: Clock) -> datetime:
    if number < _FIRST_UNIX_SECOND:
        return clock.after(number)
    while number >= _LAST_UNIX_SECOND:
        number /= 1000
    return clock.at(datetime.fromtimestamp(number, UTC))


def _iso_date(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
