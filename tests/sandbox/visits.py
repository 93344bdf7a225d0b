"""The visits that the partner holds, and those created twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from sandbox.people import TOKYO


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One visit as it was last accepted; ``body`` is what was sent, field by field."""

    organization: str
    key: str
    external_id: str
    version: int
    week: str
    received_at: str
    body: dict[str, Any] = field(repr=False)


class Visits:
    """Visits by the partner's key, unique over all organizations."""

    def __init__(self) -> None:
        self._by_key: dict[str, Visit] = {}
        self._held: Counter[tuple[str, str]] = Counter()
        self._duplicates: Counter[tuple[str, str]] = Counter()
        self._created = 0

    def next_number(self) -> int:
        return self._created + 1

    def find(self, key: str) -> Visit | None:
        return self._by_key.get(key)

    def held(self, key: str) -> Visit:
        """The visit under a key; raises KeyError when there is none."""
        return self._by_key[key]

    def of(self, organization: str, *, week: str | None = None, external_id: str | None = None) -> list[Visit]:
        return [
            visit
            for visit in self._by_key.values()
            if visit.organization == organization
            and (week is None or visit.week == week)
            and (external_id is None or visit.external_id == external_id)
        ]

    def all(self) -> list[Visit]:
        return list(self._by_key.values())

    def keep(self, visit: Visit) -> Visit:
        """Hold a visit, new or changed; a new one whose external id is already held counts as created twice."""
        known = self._by_key.get(visit.key)
        if known is not None:
            visit = replace(visit, version=known.version + 1)
        else:
            self._created += 1
            name = (visit.organization, visit.external_id)
            if self._held[name]:
                self._duplicates[name] += 1
            self._held[name] += 1
        self._by_key[visit.key] = visit
        return visit

    def drop(self, key: str) -> None:
        visit = self._by_key.pop(key)
        self._held[visit.organization, visit.external_id] -= 1

    def duplicates(self) -> list[dict[str, Any]]:
        """Every visit created more than once while it was held; ``count`` is how often it was created."""
        return [
            {"organization": organization, "external_id": external_id, "count": again + 1}
            for (organization, external_id), again in sorted(self._duplicates.items())
        ]


def read_time(value: object) -> datetime | None:
    """An ISO 8601 time, in Asia/Tokyo when it names no offset; None when it is no time."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=TOKYO)


def week_of(start: datetime) -> str:
    """The Monday of a start in Asia/Tokyo."""
    day: date = start.astimezone(TOKYO).date()
    return (day - timedelta(days=day.weekday())).isoformat()
