"""What must hold when everything is quiet again, by what the partner wrote down and what the database says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faults.released_week import Place
from judge.running import asked

_OPEN = "select count(*) as n from sync.push_attempt where partner = %s and state in ('claimed', 'sent', 'unknown')"
_PENDING = "select count(*) as n from sync.pending where partner = %s"
_TODO = "select count(*) as n from sync.todo where partner = %s"
_VISITS = "select visit_id, revision, status from schedule.visit where organization = any (%s)"
_TAKEN = """
    select r.visit_id, r.outcome, c.revision from sync.push_result r
    join sync.change_history c on c.visit_id = r.visit_id and c.version = r.version
    where r.partner = %s and r.outcome in ('accepted', 'withdrawn')
"""
_GIVEN_UP = "select count(*) as n from sync.push_result where partner = %s and outcome in ('dead', 'rejected')"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How often each rule was broken; ``calls`` is what arrived, ``needed`` the results that were taken."""

    lost: int
    old: int
    left_behind: int
    twice: int
    overtaken: int
    pending: int
    open: int
    given_up: int
    never_sent: int
    calls: int
    taken: int

    @property
    def broken(self) -> dict[str, int]:
        """The rules that do not hold."""
        return {name: found for name, found in vars(self).items() if found and name not in {"calls", "taken"}}


def is_quiet(place: Place, partner: str) -> bool:
    """Whether nothing is due, claimed or unknown."""
    with place.admin() as admin:
        return not any(admin.execute(query, (partner,)).fetchall()[0]["n"] for query in (_TODO, _OPEN))


def judged(place: Place, partner: str, *, organizations: Sequence[str], address: str) -> Verdict:
    """Compare what the partner at ``address`` holds, and all that it ever did, with the product's visits."""
    with place.admin() as admin:
        visits = {row["visit_id"]: row for row in admin.execute(_VISITS, (list(organizations),))}
        taken = admin.execute(_TAKEN, (partner,)).fetchall()
        counts = {
            name: admin.execute(query, (partner,)).fetchall()[0]["n"]
            for name, query in (("pending", _PENDING), ("open", _OPEN), ("given_up", _GIVEN_UP))
        }
    held = {body["external_id"]: body["note"] for body in asked(address, "/judge/held")}
    journal = asked(address, "/judge/journal")
    wanted = {visit_id: f"r{row['revision']}" for visit_id, row in visits.items() if row["status"] != "cancelled"}
    return Verdict(
        lost=len(wanted.keys() - held.keys()),
        old=sum(held[visit_id] != note for visit_id, note in wanted.items() if visit_id in held),
        left_behind=len(held.keys() - wanted.keys()),
        twice=len(asked(address, "/judge/twice")),
        overtaken=overtaken(journal),
        never_sent=never_sent(taken, journal),
        calls=len(journal),
        taken=len(taken),
        **counts,
    )


def overtaken(journal: Sequence[dict[str, Any]]) -> int:
    """How many puts were done after a newer one of the same visit."""
    newest: dict[str, int] = {}
    found = 0
    for entry in sorted((one for one in journal if one["did"] in {"created", "changed"}), key=lambda one: one["done"]):
        revision = int(entry["revision"].removeprefix("r"))
        found += revision < newest.get(entry["visit"], 0)
        newest[entry["visit"]] = max(revision, newest.get(entry["visit"], 0))
    return found


def never_sent(taken: Sequence[dict[str, Any]], journal: Sequence[dict[str, Any]]) -> int:
    """How many results name a version that the partner never did, or a withdraw of a visit that it never removed."""
    put = {(one["visit"], one["revision"]) for one in journal if one["did"] in {"created", "changed"}}
    removed = {one["visit"] for one in journal if one["did"] == "removed"}
    return sum(
        row["visit_id"] not in removed
        if row["outcome"] == "withdrawn"
        else (row["visit_id"], f"r{row['revision']}") not in put
        for row in taken
    )
