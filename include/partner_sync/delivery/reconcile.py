"""Reconcile: compare what a partner really holds of a week with what it should hold.

A partner that lists its visits is asked for the list; a difference that the list shows is confirmed by reading the
visit back, or, where there is no read-back, by a second reading of the list. Without a list every visit that should be
there is read back: what is there and should not be cannot be seen then.
"""

from __future__ import annotations

import re
from contextlib import closing
from datetime import date

from partner_sync.database import Connection
from partner_sync.delivery.comparison import READ_BACK, Comparing, Comparison, Findings, Known, Look, Round, Sighting
from partner_sync.delivery.push import needed_keys
from partner_sync.errors import BadAnswerError, ConfigError, PagingLoopError
from partner_sync.kinds.interface import HeldVisit, OpenKind, PartnerKind, VisitPage
from partner_sync.limiter import LedgerGate
from partner_sync.limits import limits_of
from partner_sync.partners.model import Partner
from partner_sync.partners.push import Push

#: What may be a visit id of ours (schedule.visit). Anything else that stands in its place is nobody's: it is not kept.
_OUR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def repeats_safely(push: Push) -> bool:
    """Whether sending a visit again because it is missing cannot make a second one there.

    It was read back and not found, or it goes under our own id. Only where the partner names visits by itself and
    nothing but its list says that one is missing, a list that came out empty would double the week.
    """
    return push.read_back is not None or push.post is None


def comparing(partner: Partner, *, organization: str, week: date, run_key: str, round_: Round = 1) -> Comparing:
    """What is compared for one organization, as the partner file says."""
    return Comparing(
        partner=partner.slug,
        organization=organization,
        week=week,
        run_key=run_key,
        needs=needed_keys(partner),
        settle_after_seconds=partner.timeouts.settle_after_seconds,
        round=round_,
    )


def compare_week(
    conn: Connection, ledger: Connection, *, partner: Partner, what: Comparing, open_kind: OpenKind
) -> Findings:
    """Compare one week of one organization, as login sync_push on two connections; begun before, it goes on.

    Raises LimitReachedError, RateLimitedError, PartnerUnavailableError (what was seen is kept), PartnerAuthError,
    ReadRefusedError, BadAnswerError (also for a list that contradicts itself), PagingLoopError.
    """
    if partner.push is None or not partner.push.shows_visits:
        raise ConfigError(
            problem=f"{partner.slug} can neither list nor show a visit: there is nothing to compare with."
        )
    comparison = Comparison(conn, what)
    if not comparison.state.ended:
        gate = LedgerGate(
            ledger,
            partner=partner.slug,
            organization=what.organization,
            limits=limits_of(partner),
            call_class="master",
        )
        with closing(open_kind(gate)) as kind:
            _Looking(comparison, what, kind=kind).look()
        comparison.end()
    return comparison.findings()


class _Looking:
    def __init__(self, comparison: Comparison, what: Comparing, *, kind: PartnerKind) -> None:
        self._comparison = comparison
        self._what = what
        self._kind = kind

    def look(self) -> None:
        can = self._kind.can
        if can.list_visits and not self._comparison.state.listed:
            self._list()
        if can.read_back:
            for visit_id in self._comparison.unconfirmed():
                self._read_back(visit_id)
        elif self._comparison.state.listed == 1 and self._comparison.unconfirmed():
            self._list()

    def _list(self) -> None:
        """Read the list once to its end, from where the process before this one stopped."""
        if self._comparison.state.position is None:
            self._comparison.begin_listing()
        try:
            self._read_pages()
        except (BadAnswerError, PagingLoopError):
            # A list that contradicts itself proves nothing; the next try reads it from its beginning.
            self._comparison.begin_listing()
            raise

    def _read_pages(self) -> None:
        comparison, week = self._comparison, self._what.week
        number, at = comparison.state.listed + 1, comparison.now()
        for page in self._kind.visits(week, self._what.organization, position=comparison.state.position):
            self._check(page)
            ours = [(held, held.visit_id) for held in page.visits if held.visit_id and _OUR_ID.fullmatch(held.visit_id)]
            known = comparison.known([name for _, name in ours])
            comparison.note_page(
                [self._sighting(held, known.get(name), look=Look(number, at)) for held, name in ours],
                records=page.records,
                not_ours=len(page.visits) - len(ours),
                position=page.next_position,
            )
            at = comparison.now()

    def _check(self, page: VisitPage) -> None:
        received = self._comparison.state.records + page.records
        whole = page.next_position is not None or page.total is None or received == page.total
        if page.repeated or not whole:
            problem = "the list of the week is not complete: a page came twice, or the total is another one"
            raise BadAnswerError(
                partner=self._what.partner, endpoint="the visits of a week", status=200, problem=problem
            )

    def _sighting(self, held: HeldVisit, known: Known | None, *, look: Look) -> Sighting:
        fields = self._kind.differences(held, known.call.values) if known else ()
        return Sighting(
            visit_id=held.visit_id or "",
            partner_ref=held.partner_ref,
            look=look,
            version=known.version if known else None,
            found="different" if fields or not known else "same",
            fields=fields,
        )

    def _read_back(self, visit_id: str) -> None:
        look = Look(READ_BACK, self._comparison.now())
        known = self._comparison.known([visit_id])[visit_id]
        presence = self._kind.read_back(known.call)
        seen = Sighting(
            visit_id=visit_id,
            partner_ref=presence.partner_ref,
            look=look,
            version=known.version,
            found="different" if presence.found == "unproven" else presence.found,
            fields=presence.fields,
        )
        self._comparison.note([seen])
