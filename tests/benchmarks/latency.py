"""How long a change of a released week takes to the partner: by the tick of each minute, and by the watcher.

On a live Airflow that has nothing else to do. What counts is the moment at which the partner's yes was written.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

from live_stack import temporary_installation
from partner_sync.database import Connection, connect
from sandbox.control_client import ControlClient
from stack.demo import prepare
from stack.demo_story import tell

CHANGES = 60
#: Changes by the tick fall anywhere in a minute.
APART_SECONDS = (1.0, 9.0)
_LONGEST_SECONDS = 180.0
_WATCHED, _TICKED = "honoka", "tsubaki"
_ORGANIZATIONS = {_WATCHED: "momiji-care", _TICKED: "hinata-care"}


@dataclass(frozen=True)
class Bench:
    """A running stack with weeks that are at the partners."""

    admin: Connection
    partners: dict[str, ControlClient]

    def change(self, partner: str, text: str) -> str:
        """Write a note on some visit that the partner holds; returns the visit's id."""
        row = self.admin.execute(
            "update schedule.visit v set revision = revision + 1, note = %s where visit_id = ("
            " select h.visit_id from sync.held h join schedule.visit w using (visit_id)"
            " where h.partner = %s and h.organization = %s and w.status = 'planned' order by random() limit 1)"
            " returning v.visit_id",
            (text, partner, _ORGANIZATIONS[partner]),
        ).fetchone()
        return str(row["visit_id"]) if row else ""

    def accepted_at(self, partner: str, visit: str, *, since: datetime) -> datetime | None:
        """When the first answer after ``since`` said that the partner has the visit's change."""
        row = self.admin.execute(
            "select min(at) as at from sync.push_result"
            " where partner = %s and visit_id = %s and outcome = 'accepted' and at > %s",
            (partner, visit, since),
        ).fetchone()
        return row["at"] if row else None

    def seconds_of(self, partner: str, changes: list[tuple[str, datetime]]) -> list[float]:
        """How long each change took; one that is not there after minutes counts as that long."""
        taken, until = [], time.monotonic() + _LONGEST_SECONDS
        for visit, changed_at in changes:
            while (there_at := self.accepted_at(partner, visit, since=changed_at)) is None and time.monotonic() < until:
                time.sleep(0.5)
            taken.append((there_at - changed_at).total_seconds() if there_at else _LONGEST_SECONDS)
        return sorted(taken)


@contextmanager
def bench() -> Iterator[Bench]:
    with temporary_installation() as installation:
        _without_watch(installation.partners / f"{_TICKED}.yaml")
        partners = {name: _control(each.url, each.folder) for name, each in prepare(installation).items()}
        for partner in partners.values():
            partner.resize(patients=60, dirty_share=0.0)
        with installation.api() as api:
            tell(installation, api)
        with connect(installation.cluster.url("partner_sync")) as admin:
            yield Bench(admin, partners)


def report() -> str:
    """A table in Markdown, in seconds."""
    lines = [
        "| change to partner | changes | median | p95 | p99 | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    with bench() as running:
        for name, partner in (("by the watcher, idle", _WATCHED), ("by the tick", _TICKED)):
            taken = running.seconds_of(partner, list(_changes(running, partner)))
            shares = quantiles(taken, n=100, method="inclusive")
            figures = " | ".join(f"{value:.1f}" for value in (shares[49], shares[94], shares[98], taken[-1]))
            lines.append(f"| {name} | {len(taken)} | {figures} |")
    return "\n".join(lines)


def _changes(running: Bench, partner: str) -> Iterator[tuple[str, datetime]]:
    rng = random.Random(0)
    for number in range(CHANGES):
        changed_at = datetime.now(UTC)
        yield running.change(partner, f"change {number}"), changed_at
        time.sleep(rng.uniform(*APART_SECONDS))


def _without_watch(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace("  watch: true\n", ""), encoding="utf-8")


def _control(url: str, folder: Path) -> ControlClient:
    return ControlClient(url, (folder / "control-token").read_text(encoding="utf-8").strip())
