"""What the steps say about each organization, in the words of the catalogue (partner_sync.runs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partner_sync.database import Connection
from partner_sync.delivery.comparison import Findings
from partner_sync.delivery.push import PushCounts
from partner_sync.delivery.verdict import PERSON_DECIDES
from partner_sync.errors import (
    CircuitOpenError,
    ConfigError,
    ConnectionUnusableError,
    HeldError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
)
from partner_sync.incidents import Incident, open_incidents
from partner_sync.links import Link
from partner_sync.master.guard import MergeCounts
from partner_sync.quality.validate import EntityQuality
from partner_sync.runs import Outcome, Word, record_outcome

#: Causes that calling again cannot remove: a tick leaves their organizations alone until a run of a person succeeds.
_STOPPED_BY = frozenset({PartnerAuthError.code, ConnectionUnusableError.code, ConfigError.code})


@dataclass(frozen=True, kw_only=True)
class RunName:
    """Which run: partner, its own key, and the kind of its DAG (master_sync, ...)."""

    partner: str
    run_key: str
    dag: str


class Outcomes:
    """The outcomes of one step, as login sync_run."""

    def __init__(self, conn: Connection, run: RunName, *, step: str) -> None:
        self._conn = conn
        self._run = run
        self._step = step

    def failed(self, link: Link, error: PartnerSyncError) -> None:
        """The organization has stopped at this step. What a person of us holds is no failure: it goes on by itself."""
        self._say(link.organization, "skipped" if isinstance(error, HeldError) else "failed", code=error.code)

    def circuit_open(self, organization: str, *, only_news: bool = False) -> bool:
        """Its circuit is open. Where it is known already that the partner cannot be reached, that is the cause.

        ``only_news``: say it only when no cause of either kind is open. Returns whether it was said.
        """
        codes = (PartnerUnavailableError.code, CircuitOpenError.code)
        known = {each.code for each in self._open_causes(organization)} & set(codes)
        if known and only_news:
            return False
        self._say(organization, "failed", code=codes[0] if codes[0] in known else codes[1])
        return True

    def read(self, organization: str, records: Mapping[str, int]) -> None:
        """Everything was read; ``records`` by entity."""
        self._say(
            organization, "ok", code="extracted", counts={f"{entity}.records": n for entity, n in records.items()}
        )

    def judged(self, quality: EntityQuality) -> None:
        """A slice was judged; quarantined rows are no failure of the run."""
        counts = _counted(quality, "evaluated", "quarantined", "returned", "waiting")
        self._say(quality.organization, "ok", code="validated", entity=quality.entity, counts=counts)

    def merged(self, organization: str, entity: str, *, done: MergeCounts) -> None:
        """A slice was merged, or is held with its figures (design, rule 13)."""
        counts = _counted(done, "inserted", "updated", "unchanged", "tombstoned")
        word: Word = "held" if done.state == "held" else "ok"
        code = "slice_held" if done.state == "held" else "merged"
        self._say(organization, word, code=code, entity=entity, counts=counts)

    def released(self, organization: str, *, offices: int, not_finalized: int) -> None:
        """How many offices were released; those that are not finalized are skipped (design, rule 5)."""
        counts = {name: n for name, n in (("released", offices), ("not_finalized", not_finalized)) if n}
        word: Word = "ok" if offices else "skipped"
        self._say(organization, word, code="released" if offices else "not_finalized", entity="office", counts=counts)

    def pushed(self, organization: str, done: PushCounts, *, blocked_by: Mapping[str, int] | None = None) -> None:
        """What a push came to. Visits that were given up are ours to look at; rejected ones are the planner's badge.

        ``blocked_by``: the blocked visits by reason, where somebody has asked for a week.
        """
        blocked = {f"blocked.{reason}": count for reason, count in (blocked_by or {}).items()}
        if not blocked and done.blocked:
            blocked = {"blocked": done.blocked}
        counts = dict(done.outcomes) | blocked
        if done.outcomes.get("dead"):
            self._say(organization, "failed", code="dead", entity="visit", counts=counts)
        elif done.parked:
            self._say(organization, "failed", code=PERSON_DECIDES.code, entity="visit", counts=counts)
        else:
            self._say(organization, "ok", code="pushed", entity="visit", counts=counts)
            self._say(organization, "ok", code="pushed")

    def compared(self, organization: str, found: Findings, *, to_be_repaired: bool) -> None:
        """What a comparison has found. A difference is for a person to look at, unless one has asked for its repair."""
        differs = found.differing > 0 and not to_be_repaired
        word: Word = "failed" if differs else "ok"
        code = "week_differs" if differs else "week_compared"
        self._say(organization, word, code=code, entity="visit", counts=_compared(found))
        if found.todo_rebuilt:
            self._say(organization, "failed", code="todo_rebuilt", counts=_counted(found, "todo_rebuilt"))
        else:
            self._say(organization, "ok", code="week_compared")

    def repair_begun(self, organization: str, found: Findings) -> None:
        """How many differences are on their way; with none at all only a person can go on."""
        if found.repaired:
            self._say(organization, "ok", code="reconciled", entity="visit", counts={"repaired": found.repaired})
        else:
            self._say(organization, "failed", code="week_differs", entity="visit")

    def requeued(self, organization: str, visits: int) -> None:
        """How many rejected or given-up visits a person has asked for anew."""
        if visits:
            self._say(organization, "ok", code="requeued", entity="visit", counts={"requeued": visits})
        else:
            self._say(organization, "skipped", code="nothing_failed", entity="visit")

    def stopped(self) -> frozenset[str]:
        """The organizations that an open cause has stopped at this step."""
        return frozenset(each.organization for each in self._open_causes() if each.code in _STOPPED_BY)

    def _open_causes(self, organization: str | None = None) -> list[Incident]:
        found = open_incidents(self._conn, partner=self._run.partner)
        mine = [each for each in found if each.step == self._step]
        return [each for each in mine if organization in (None, each.organization)]

    def _say(
        self, organization: str, outcome: Word, *, code: str, entity: str = "", counts: Mapping[str, int] | None = None
    ) -> None:
        record_outcome(
            self._conn,
            Outcome(
                **vars(self._run),
                step=self._step,
                organization=organization,
                entity=entity,
                outcome=outcome,
                code=code,
                counts=counts or {},
            ),
        )


def _compared(found: Findings) -> dict[str, int]:
    unsettled = {f"unsettled.{reason}": count for reason, count in found.unsettled.items()}
    return _counted(found, "same") | dict(found.differences) | unsettled | _counted(found, "not_ours")


def _counted(figures: object, *names: str) -> dict[str, int]:
    """The figures that are not zero: a run note is short."""
    return {name: count for name in names if (count := getattr(figures, name))}
