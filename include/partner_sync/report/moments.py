"""Times as people at a Japanese office read them: Asia/Tokyo, and ages in days."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from partner_sync.catalogue import Language

TOKYO = ZoneInfo("Asia/Tokyo")


def moment(at: datetime) -> str:
    """'2026-11-28 20:31', in Asia/Tokyo."""
    return at.astimezone(TOKYO).strftime("%Y-%m-%d %H:%M")


def short_day(day: date) -> str:
    """'11/28'."""
    return f"{day.month}/{day.day}"


def age(since: datetime, now: datetime, language: Language) -> str:
    """How long ago, in the largest unit that fits: '3 days', '5時間'."""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    number, (ja, one, many) = max(1, seconds // 60), ("分", "minute", "minutes")
    if seconds >= 86_400:
        number, (ja, one, many) = seconds // 86_400, ("日", "day", "days")
    elif seconds >= 3600:
        number, (ja, one, many) = seconds // 3600, ("時間", "hour", "hours")
    return f"{number}{ja}" if language == "ja" else f"{number} {one if number == 1 else many}"
