"""Paginators: what to ask for next, and when a list is over, goes in circles or contradicts itself.

A paginator holds no state. Everything stands in the position (JSON), so that another process can go on:

    number    pages received so far
    at        what asks for the next page: a page number, an offset, a cursor, or an address at the partner's origin
    received  records received so far
    digest    of the newest page, to see it repeated
    repeats   how many times in a row it was repeated
    mark, steps, power   Brent's cycle finding over cursors and addresses: a loop of any length is found in
              constant space, at most a few rounds after it began, also across processes
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from partner_sync.kinds.visit_body import shown_at
from partner_sync.partners.master import (
    CursorPaging,
    LinkHeaderPaging,
    OffsetTotalPaging,
    PageNumberPaging,
    Paging,
    UntilEmptyPaging,
)
from partner_sync.partners.paths import value_at

#: Above this a list does not end (1,000 million records at 500 a page).
MAX_PAGES = 2_000_000
_MAX_TOKEN = 8_192


class ListingFault(Exception):  # noqa: N818 - turned into BadAnswerError or PagingLoopError by whoever knows the endpoint
    """The pages cannot be followed: ``problem`` says why; ``loop`` when they lead back."""

    def __init__(self, problem: str, *, loop: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.loop = loop


@dataclass(frozen=True, kw_only=True)
class Step:
    """How the next page is asked for: by parameters, or by a whole address instead."""

    parameters: Mapping[str, str | int]
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Received:
    """An answer as a paginator sees it: the decoded body, the records in it, and the Link header's next address."""

    body: object
    records: Sequence[object]
    next_url: str | None = None

    def count_at(self, path: str) -> int:
        """The whole number at a dotted path; ListingFault when there is none."""
        value = value_at(self.body, path)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
            value = int(value)
        if type(value) is not int or value < 0:
            msg = f"there is no count at {path}"
            raise ListingFault(msg)
        return value


class Paginator(Protocol):
    """One style of paging. ``at`` is the JSON that asks for a page; None at the beginning and at the end."""

    def ask(self, at: Any) -> Step:
        """The request for the page at ``at`` (None: the first)."""

    def following(self, at: Any, answer: Received, *, received: int) -> Any:
        """What asks for the page after this one, None when this was the last; ``received`` counts this page's too."""


@dataclass(frozen=True)
class _PageNumbers:
    style: PageNumberPaging | UntilEmptyPaging

    def ask(self, at: Any) -> Step:
        return Step(parameters=_sized(self.style, {self.style.page: self.style.first if at is None else at}))

    def following(self, at: Any, answer: Received, *, received: int) -> Any:
        number = self.style.first if at is None else int(at)
        return number + 1 if self._goes_on(number, answer) else None

    def _goes_on(self, number: int, answer: Received) -> bool:
        last_at = self.style.last_at if isinstance(self.style, PageNumberPaging) else None
        if last_at is not None:
            more = number < answer.count_at(last_at)
            if more and not answer.records:
                raise ListingFault("a page before the last one is empty")
            return more
        size = self.style.size_value if isinstance(self.style, PageNumberPaging) else None
        return len(answer.records) >= (size or 1)


@dataclass(frozen=True)
class _Offsets:
    style: OffsetTotalPaging

    def ask(self, at: Any) -> Step:
        return Step(parameters=_sized(self.style, {self.style.offset: at or 0}))

    def following(self, at: Any, answer: Received, *, received: int) -> Any:
        total = answer.count_at(self.style.total_at)
        reached = int(at or 0) + len(answer.records)
        if reached < total and not answer.records:
            raise ListingFault("a page before the total is empty")
        return reached if reached < total else None


@dataclass(frozen=True)
class _Cursors:
    style: CursorPaging

    def ask(self, at: Any) -> Step:
        return Step(parameters=_sized(self.style, {} if at is None else {self.style.cursor: at}))

    def following(self, at: Any, answer: Received, *, received: int) -> Any:
        shown, token = shown_at(answer.body, self.style.next_at)
        if not shown and at is None:
            self._refuse_to_end_at_a_full_page(answer)
        if token is None or token == "" or token is False:
            return None
        if type(token) not in (str, int) or len(str(token)) > _MAX_TOKEN:
            msg = f"the token at {self.style.next_at} is neither text nor number"
            raise ListingFault(msg)
        return token

    def _refuse_to_end_at_a_full_page(self, answer: Received) -> None:
        """A mistyped ``next_at`` would read one page of many and look complete; a total tells the same better."""
        size = self.style.size_value
        if size and len(answer.records) >= size and self.style.total_at is None:
            msg = (
                f"the first page is full and says nothing at {self.style.next_at}, not even that it is the last: "
                "`next_at` is another path, or the partner file needs `total_at`"
            )
            raise ListingFault(msg)


@dataclass(frozen=True)
class _Links:
    style: LinkHeaderPaging

    def ask(self, at: Any) -> Step:
        return Step(parameters=_sized(self.style, {})) if at is None else Step(parameters={}, url=at)

    def following(self, at: Any, answer: Received, *, received: int) -> Any:
        if answer.next_url is not None and len(answer.next_url) > _MAX_TOKEN:
            raise ListingFault("the address of the next page is too long")
        return answer.next_url


def paginator(style: Paging) -> Paginator:
    """The paginator of a partner file's ``paging``."""
    if isinstance(style, PageNumberPaging | UntilEmptyPaging):
        return _PageNumbers(style)
    if isinstance(style, OffsetTotalPaging):
        return _Offsets(style)
    return _Cursors(style) if isinstance(style, CursorPaging) else _Links(style)


def _sized(style: Paging, parameters: dict[str, str | int]) -> dict[str, str | int]:
    size = {style.size: style.size_value} if style.size and style.size_value else {}
    return {**size, **parameters}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one received page means: the position after it (None: it was the last), and whether it was repeated."""

    position: dict[str, Any] | None
    number: int
    repeated: bool


def advance(pages: Paginator, position: Mapping[str, Any], *, answer: Received) -> Turn:
    """Take note of a page; raises ListingFault when the list cannot be followed any further.

    A page with the records of the page before it is marked. The second in a row is a loop: a partner that leaves
    the page parameter aside would otherwise give the same page for ever.
    """
    number = int(position.get("number", 0)) + 1
    digest = _digest(answer.records)
    repeated = bool(answer.records) and digest == position.get("digest")
    repeats = int(position.get("repeats", 0)) + 1 if repeated else 0
    if repeats > 1 or number > MAX_PAGES:
        raise ListingFault("pages repeat", loop=True)
    received = int(position.get("received", 0)) + len(answer.records)
    at = pages.following(position.get("at"), answer, received=received)
    if at is None:
        return Turn(position=None, number=number, repeated=repeated)
    after = {"number": number, "at": at, "received": received, "digest": digest, "repeats": repeats}
    return Turn(position={**after, **_cycle(position, at)}, number=number, repeated=repeated)


def _cycle(position: Mapping[str, Any], at: Any) -> dict[str, Any]:
    """Brent's algorithm: compare with a mark that moves on after 1, 2, 4, 8 ... steps."""
    token = hashlib.blake2b(str(at).encode("utf-8", "replace"), digest_size=12).hexdigest()
    steps, power = int(position.get("steps", 0)), int(position.get("power", 1))
    if token == position.get("mark") or at == position.get("at"):
        raise ListingFault("pages lead back", loop=True)
    if "mark" not in position or steps + 1 >= power:
        return {"mark": token, "steps": 0, "power": power * 2}
    return {"mark": position["mark"], "steps": steps + 1, "power": power}


def _digest(records: Sequence[object]) -> str:
    # First, last and count tell pages apart as well as all records do, at a hundredth of the cost.
    ends = [len(records), records[0], records[-1]] if records else []
    try:
        parts = orjson.dumps(ends)
    except orjson.JSONEncodeError:
        # orjson reads deeper nesting and longer numbers than it writes.
        parts = repr(ends).encode("utf-8", "replace")
    return hashlib.blake2b(parts, digest_size=12).hexdigest()


def records_in(body: object, path: str | None) -> list[object]:
    """The records at a dotted path; ListingFault when nothing or no list is there (also a 200 with an error body)."""
    found = value_at(body, path)
    if not isinstance(found, list):
        where = f"at {path}" if path else "in the answer"
        msg = f"there is no list of records {where}"
        raise ListingFault(msg)
    return found
