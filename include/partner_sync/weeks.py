"""Weeks are Monday to Sunday in Asia/Tokyo and are named by their Monday (design, rule 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from partner_sync.errors import InvalidWeekError

TOKYO = ZoneInfo("Asia/Tokyo")
_DAYS_JA = "月火水木金土日"
_LIKE_A_DATE = re.compile(r"[0-9][0-9/.:TWZ+ -]{0,31}")


@dataclass(frozen=True, order=True)
class Week:
    """One week, named by its Monday."""

    monday: date

    def __post_init__(self) -> None:
        if self.monday.weekday() != 0:
            raise InvalidWeekError(value=self.monday.isoformat())

    @classmethod
    def containing(cls, day: date) -> Week:
        """The week that the calendar day ``day`` lies in."""
        return cls(day - timedelta(days=day.weekday()))

    @classmethod
    def of(cls, moment: datetime) -> Week:
        """The week of an aware moment, by its day in Asia/Tokyo."""
        if moment.tzinfo is None:
            raise InvalidWeekError(value="a time without a zone")
        return cls.containing(moment.astimezone(TOKYO).date())

    @classmethod
    def parse(cls, text: str) -> Week:
        """The week of the day written as YYYY-MM-DD; raises InvalidWeekError for anything else."""
        try:
            return cls.containing(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=TOKYO).date())
        except (ValueError, OverflowError, TypeError):
            # What is no figure of a date may be a name that somebody typed (design, rule 15).
            shown = text if _LIKE_A_DATE.fullmatch(str(text)) else "what was typed"
            raise InvalidWeekError(value=shown) from None

    @property
    def sunday(self) -> date:
        return self.monday + timedelta(days=6)

    @property
    def start_at(self) -> datetime:
        """The first moment of the week, in UTC."""
        return datetime.combine(self.monday, time(), TOKYO).astimezone(UTC)

    @property
    def end_at(self) -> datetime:
        """The first moment after the week, in UTC."""
        return self.next().start_at

    def next(self) -> Week:
        return Week(self.monday + timedelta(days=7))

    def previous(self) -> Week:
        return Week(self.monday - timedelta(days=7))

    def describe(self, language: str = "en") -> str:
        """The week in plain words, for planners: 'Mon 2026-11-23 to Sun 2026-11-29 (week 48 of 2026)'."""
        year, number, _ = self.monday.isocalendar()
        if language == "ja":
            first, last = (
                f"{d.year}年{d.month}月{d.day}日({_DAYS_JA[d.weekday()]})" for d in (self.monday, self.sunday)
            )
            return f"{first}から{last}まで({year}年第{number}週)"
        return f"Mon {self.monday.isoformat()} to Sun {self.sunday.isoformat()} (week {number} of {year}, Asia/Tokyo)"

    def __str__(self) -> str:
        return self.monday.isoformat()
