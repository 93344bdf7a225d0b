"""What the steps say about each organization, in the words of the catalogue (partner_sync.runs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partner_sync.database import Connection
from partner_sync.delivery.comparison import Findings
from partner_sync.delivery.push import PushCounts
from partner_sync.delivery.verdict import PERSON_DECIDES
from partner_sync.errors import (
    BadAnswerError,
    CircuitOpenError,
    ConfigError,
    ConnectionUnusableError,
    HeldError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
)
from partner_sync.incidents import Incident, open_incidents, stopped_organizations
from partner_sync.links import Link
from partner_sync.master.guard import MergeCounts
from partner_sync.quality.validate import EntityQuality
from partner_sync.runs import Outcome, Word, record_outcome

#: Causes that calling again cannot remove: a tick leaves their organizations alone until a run of a person succeeds, or
#: something shows that they may be mended (incidents.stopped_organizations).
_STOPPED_BY = frozenset({PartnerAuthError.code, ConnectionUnusableError.code, ConfigError.code, BadAnswerError.code})
_STAYS_FAILED = frozenset({"rejected", "dead"})


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

    def not_pushed(self, link: Link, error: PartnerSyncError) -> None:
        """The same for a push that somebody asked for: while a person of us holds it, nothing of it is done."""
        self._say(link.organization, "held" if isinstance(error, HeldError) else "failed", code=error.code)

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

    def pushed(
        self,
        organization: str,
        done: PushCounts,
        *,
        blocked_by: Mapping[str, int] | None = None,
        still_failed: int = 0,
    ) -> None:
        """What a push came to. Its calls got through, so what had stopped the organization is over; visits that were
        given up, refused or left for a person in this run are no success (design, rule 9). What is left of earlier runs
        is said, and fails nothing: ``still_failed`` is how many visits stand rejected or given up.

        ``blocked_by``: the blocked visits by reason, where somebody has asked for a week.
        """
        blocked = {f"blocked.{reason}": count for reason, count in (blocked_by or {}).items()}
        if not blocked and done.blocked:
            blocked = {"blocked": done.blocked}
        left = {"still_failed": still_failed} if still_failed else {}
        word, code = _word_of_visits(done, still_failed)
        self._say(organization, word, code=code, entity="visit", counts=dict(done.outcomes) | blocked | left)
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
        return stopped_organizations(self._conn, partner=self._run.partner, step=self._step, codes=_STOPPED_BY)

    def knows_of_failed_visits(self, organization: str) -> bool:
        """Whether visits of it were rejected or given up, and that is open."""
        return any(each.code in _STAYS_FAILED for each in self._open_causes(organization))

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


def _word_of_visits(done: PushCounts, still_failed: int) -> tuple[Word, str]:
    """The word on a push's visits and its code; the gravest that is true."""
    person = PERSON_DECIDES.code
    said: tuple[tuple[Word, str, int], ...] = (
        ("failed", "dead", done.outcomes.get("dead", 0)),
        ("failed", person, done.parked_now),
        ("failed", "rejected", done.outcomes.get("rejected", 0)),
        ("waiting", person, done.parked_here),
        ("waiting", "rejected", still_failed),
        # Of another week: this one is done, and the cause stays open.
        ("skipped", person, done.parked),
    )
    return next(((word, code) for word, code, count in said if count), ("ok", "pushed"))


def _compared(found: Findings) -> dict[str, int]:
    unsettled = {f"unsettled.{reason}": count for reason, count in found.unsettled.items()}
    return _counted(found, "same") | dict(found.differences) | unsettled | _counted(found, "not_ours")


def _counted(figures: object, *names: str) -> dict[str, int]:
    """The figures that are not zero: a run note is short."""
    return {name: count for name in names if (count := getattr(figures, name))}
