"""Follows the pages of one list with one client: each page is asked for, checked, and handed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from partner_sync.errors import BadAnswerError, PagingLoopError, PartnerSyncError
from partner_sync.http.client import PartnerClient, Request
from partner_sync.http.outcomes import Intent
from partner_sync.kinds.interface import Page
from partner_sync.kinds.paging import ListingFault, Paginator, Received, Turn, advance, paginator, records_in
from partner_sync.partners.master import Paging


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One list of a partner. ``name`` is the entity, for errors; without ``style`` the list is one page.

    ``filled`` is what ``path`` comes to for one visit; the endpoint stays the template.
    """

    client: PartnerClient
    name: str
    path: str
    parameters: Mapping[str, str | int]
    records_at: str | None
    style: Paging | None
    filled: str | None = None

    @property
    def intent(self) -> Intent:
        return Intent(partner=self.client.partner.slug, endpoint=f"GET {self.path}")

    def pages(self, position: Mapping[str, Any] | None = None) -> Iterator[Page]:
        """All pages from ``position`` on."""
        pages = paginator(self.style) if self.style else None
        here: Mapping[str, Any] | None = position or {}
        while here is not None:
            page = self._page(pages, here)
            yield page
            here = page.next_position

    def _page(self, pages: Paginator | None, here: Mapping[str, Any]) -> Page:
        request = self._request(pages, here)
        answer = self.client.call(self.intent, request)
        body = self.client.decoded(self.intent, answer)
        try:
            received = Received(body=body, records=records_in(body, self.records_at), next_url=answer.next_url)
            turn = advance(pages, here, answer=received) if pages else Turn(position=None, number=1, repeated=False)
            total = received.count_at(self.style.total_at) if self.style and self.style.total_at else None
        except ListingFault as fault:
            raise self._error(fault, answer.status, here=here) from None
        return Page(
            number=turn.number,
            records=received.records,
            next_position=turn.position,
            total=total,
            repeated=turn.repeated,
        )

    def _request(self, pages: Paginator | None, here: Mapping[str, Any]) -> Request:
        if pages is None:
            return Request(path=self.filled or self.path, parameters=self.parameters)
        step = pages.ask(here.get("at"))
        if step.url is None:
            return Request(path=self.filled or self.path, parameters={**self.parameters, **step.parameters})
        if not self.client.same_origin(step.url):
            raise self._error(ListingFault("the next page is at another server, which is not asked"), 200, here=here)
        return Request(url=step.url)

    def _error(self, fault: ListingFault, status: int, *, here: Mapping[str, Any]) -> PartnerSyncError:
        if fault.loop:
            return PagingLoopError(partner=self.intent.partner, entity=self.name, page=here.get("number", 0))
        facts = {"partner": self.intent.partner, "endpoint": self.intent.endpoint}
        return BadAnswerError(**facts, status=status, problem=fault.problem)
