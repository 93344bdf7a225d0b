"""The guard of a merge: what is unusual waits for a person (design, rule 13).

Unusual is a share of changed or vanished rows, the number of records in a full listing (judged by the suite slice), and
the removal of a patient with visits to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from partner_sync.master.slices import Mode

#: The words are in words.yaml.
Why = Literal["changed", "removed", "records", "visits"]
#: The expectation of the suite slice that says whether the number of records is unusual.
UNUSUAL_RECORDS = "slice_row_count"


@dataclass(frozen=True, kw_only=True)
class Held:
    """Why a merge waits, with its figures; kept with it, and shown to whoever is asked.

    ``live``: rows before it. ``fewer``, ``more``: how many records a full listing has less than the fewest, or more
    than the most, that are usual; 0 when that was not judged as unusual. ``with_visits``: patients with visits to come
    among those that would be removed. ``changed_ids``, ``removed_ids``: some of our own ids.
    """

    why: tuple[Why, ...] = ()
    mode: Mode
    live: int
    changed: int
    removed: int
    fewer: int = 0
    more: int = 0
    with_visits: int = 0
    changed_ids: tuple[int, ...] = ()
    removed_ids: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Held:
        """What ``as_json`` gave, back from the database or from another run."""
        lists = {name: tuple(kept[name]) for name in ("why", "changed_ids", "removed_ids")}
        return cls(**{**kept, **lists})

    def as_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def to_change(self) -> int:
        """Up to which figure a yes has to go for what comes or changes."""
        return max(self.changed, self.more)

    @property
    def to_remove(self) -> int:
        """Up to which figure a yes has to go for what goes."""
        return max(self.removed, self.fewer)

    def is_covered_by(self, asked: Held) -> bool:
        """Whether a question about ``asked`` is a question about this: no figure has grown by more than a tenth."""
        pairs = ((self.to_change, asked.to_change), (self.to_remove, asked.to_remove))
        visits = (self.with_visits, asked.with_visits)
        return all(now <= a_tenth_more(then) for now, then in (*pairs, visits))


def cause_of(holds: Iterable[tuple[str, Held]]) -> str:
    """Of merges that were held one after another (run key and figures), the one whose question is that of the last.

    A question is asked once for a cause: again only when a figure has grown by more than a tenth.
    """
    found: tuple[str, Held] | None = None
    for run_key, held in holds:
        if found is None or not held.is_covered_by(found[1]):
            found = (run_key, held)
    if found is None:
        raise ValueError("nothing was held")
    return found[0]


def a_tenth_more(figure: int) -> int:
    """How far a yes to a figure carries: the sync after it reads anew."""
    return figure * 11 // 10


@dataclass(frozen=True, kw_only=True)
class MergeCounts:
    """What a merge did; when ``state`` is held, what it would have done, and ``held`` says why.

    For a partner that is not the master, ``unchanged`` counts its records that have one of our ids.
    """

    inserted: int
    updated: int
    unchanged: int
    tombstoned: int
    state: Literal["merged", "held"] = "merged"
    held: Held | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Guard:
    """How much one merge may change or remove.

    Shares are of the organization's rows that are not gone; ``minimum_rows`` may always change, so that a small
    organization is not held for every edit. The approved figures are those that a person has said yes to: for what
    changes or comes, for what goes, and for patients with visits among them (None: as many as may go).
    """

    changed_share: float = 0.5
    removed_share: float = 0.2
    minimum_rows: int = 20
    approved_changed: int = 0
    approved_removed: int = 0
    approved_visits: int | None = None

    def reasons(self, found: Held) -> tuple[Why, ...]:
        """Why this merge must wait; empty when it may go on."""
        may_change = max(self.minimum_rows, self.changed_share * found.live, self.approved_changed)
        may_remove = max(self.minimum_rows, self.removed_share * found.live, self.approved_removed)
        visits = self.approved_removed if self.approved_visits is None else self.approved_visits
        unusual: dict[Why, bool] = {
            "changed": found.changed > may_change,
            "removed": found.removed > may_remove,
            "records": found.fewer > self.approved_removed or found.more > self.approved_changed,
            "visits": found.with_visits > visits,
        }
        return tuple(why for why, is_so in unusual.items() if is_so)
