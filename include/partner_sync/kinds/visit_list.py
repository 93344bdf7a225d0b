"""The visits that a partner lists for a week, and in which fields a record differs from what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from partner_sync.http.client import PartnerClient
from partner_sync.kinds.interface import HeldVisit, Page, VisitPage
from partner_sync.kinds.listing import Listing
from partner_sync.kinds.visit_body import VisitBody, name_or_none, shown_at
from partner_sync.partners.converters import Unfit
from partner_sync.partners.paths import holds, value_at
from partner_sync.partners.push import Push
from partner_sync.partners.visits_list import VisitsList


@dataclass(frozen=True, kw_only=True)
class VisitListing:
    """``push.list`` of a partner file, with one organization's client."""

    client: PartnerClient
    section: VisitsList

    def pages(self, week: date, organization: str, *, position: Mapping[str, Any] | None = None) -> Iterator[VisitPage]:
        """All pages from ``position`` on."""
        listing = Listing(
            client=self.client,
            name="visits",
            path=self.section.path,
            parameters=self.section.query(week, organization),
            records_at=self.section.records_at,
            style=self.section.paging,
        )
        for page in listing.pages(position):
            yield self._page(page)

    def _page(self, page: Page) -> VisitPage:
        gone = holds(self.section.absent_when) if self.section.absent_when else None
        present = [each for each in page.records if isinstance(each, dict) and not (gone and gone(each))]
        return VisitPage(
            number=page.number,
            visits=tuple(self._held(each) for each in present),
            records=len(page.records),
            next_position=page.next_position,
            total=page.total,
            repeated=page.repeated,
        )

    def _held(self, record: dict[str, Any]) -> HeldVisit:
        ref = value_at(record, self.section.ref_at) if self.section.ref_at else None
        return HeldVisit(
            visit_id=name_or_none(value_at(record, self.section.key_at)), partner_ref=name_or_none(ref), record=record
        )


class Differences:
    """In which of the fields of ``push.map`` a record differs from what would be sent."""

    def __init__(self, push: Push) -> None:
        # One comparison a field, by the same rules as a read-back's, which only says whether all are equal.
        self._fields = tuple(
            (target, VisitBody(push.model_copy(update={"map": {target: mapped}})))
            for target, mapped in push.map.items()
        )

    def between(self, record: Mapping[str, object], values: Mapping[str, object]) -> tuple[str, ...]:
        """The names of the fields that the record shows and that differ."""
        return tuple(
            target for target, body in self._fields if shown_at(record, target)[0] and not _is_in(body, record, values)
        )


def _is_in(body: VisitBody, record: Mapping[str, object], values: Mapping[str, object]) -> bool:
    try:
        return body.is_in(record, values)
    except Unfit:
        # The partner file has lost a code since the visit was sent: what is there cannot be shown to be the same.
        return False
