"""Scores: the share of judged values that passed, each weighted by the severity of what judged it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

DIMENSIONS = ("completeness", "accuracy", "uniqueness", "consistency", "timeliness")
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Weights:
    """Weighted values judged and failed; they can be added, shares cannot."""

    evaluated: int = 0
    failed: int = 0

    def __add__(self, other: Weights) -> Weights:
        return Weights(self.evaluated + other.evaluated, self.failed + other.failed)

    @property
    def score(self) -> float | None:
        """0 to 1; None when nothing was judged."""
        return 1 - self.failed / self.evaluated if self.evaluated else None


@dataclass(frozen=True)
class Point:
    """One day of a history; a day without a run has no score."""

    day: date
    weights: Weights


def days_between(first: date, last: date) -> list[date]:
    """Each day, both ends included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def history(weights: Mapping[date, Weights], days: Iterable[date]) -> list[Point]:
    """A point for each day, so that a gap is seen as a gap."""
    return [Point(day, weights.get(day, Weights())) for day in days]


def summed(rows: Iterable[Mapping[str, Any]], key: str) -> dict[Any, Weights]:
    """Rows with ``evaluated`` and ``failed`` added up by one of their columns."""
    found: dict[Any, Weights] = {}
    for row in rows:
        found[row[key]] = found.get(row[key], Weights()) + Weights(row["evaluated"], row["failed"])
    return found
