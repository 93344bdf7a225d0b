"""The guard of a merge: an unusual share of changed or vanished rows waits for a person (design, rule 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MergeCounts:
    """What a merge did; when ``state`` is held, what it would have done.

    For a partner that is not the master, ``unchanged`` counts its records that have one of our ids.
    """

    inserted: int
    updated: int
    unchanged: int
    tombstoned: int
    state: Literal["merged", "held"] = "merged"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """How much one merge may change or remove.

    Shares are of the organization's rows that are not gone; ``minimum_rows`` may always change, so that a small
    organization is not held for every edit. The approved figures are those that a person has said yes to.
    """

    changed_share: float = 0.5
    removed_share: float = 0.2
    minimum_rows: int = 20
    approved_changed: int = 0
    approved_removed: int = 0

    def holds(self, counts: MergeCounts, *, live: int) -> bool:
        """Whether this merge must wait; ``live`` is how many rows there were before it."""
        may_change = max(self.minimum_rows, self.changed_share * live, self.approved_changed)
        may_remove = max(self.minimum_rows, self.removed_share * live, self.approved_removed)
        return counts.updated > may_change or counts.tombstoned > may_remove
