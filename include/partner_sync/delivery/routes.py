"""Which calls are bound by the same limits, and the grants that are asked for them together."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from itertools import product
from typing import Literal, NamedTuple

from partner_sync.delivery.claims import Candidate, Claimed, Closed
from partner_sync.delivery.turnstile import Permit, Turnstile
from partner_sync.errors import LimitReachedError
from partner_sync.kinds.interface import Action, PartnerKind
from partner_sync.limiter import Grant
from partner_sync.partners.model import Partner

#: Whether the partner has named a visit, and is known to hold it: what it has named it holds.
_KNOWN_THERE = ((False, False), (False, True), (True, True))


class Route(NamedTuple):
    """Calls on one route are bound by the same limits and take as many visits each. Empty: no limit asks for it."""

    endpoint: str
    office: str
    size: int


class Routes:
    """Tells the routes of a partner apart, by the scopes of its limits."""

    def __init__(self, partner: Partner, kind: PartnerKind) -> None:
        scopes = {limit.scope for limit in partner.limits}
        self._by_office, self._by_endpoint = "office" in scopes, "endpoint" in scopes
        self._kind = kind

    @property
    def several(self) -> bool:
        """Whether one route can be open while another's limits are reached."""
        return self._by_office or self._by_endpoint

    @property
    def can_look_up(self) -> bool:
        """Whether what became of a lost answer can be found out: by reading back, or by the same key again."""
        return self._kind.can.read_back or self._kind.can.idempotency_key

    def of_item(self, one: Candidate | Claimed) -> Route:
        return self._route(one.action, one, size=self.size_of(one))

    def size_of(self, one: Candidate | Claimed) -> int:
        """How many such visits go in one call."""
        return self._kind.batch_size(one.action, named=one.named, held=one.held)

    def of_look_up(self, one: Candidate) -> Route:
        return self._route("read_back" if self._kind.can.read_back else one.action, one, size=1)

    def closed_by(self, route: Route) -> Iterator[Closed]:
        """What cannot leave as long as nothing leaves on the route."""
        office_id = int(route.office) if route.office else None
        if not self._by_endpoint:
            yield Closed(office_id=office_id)
            return
        actions: tuple[Action, ...] = ("put", "withdraw")
        for action, (named, held) in product(actions, _KNOWN_THERE):
            if self._kind.endpoint_of(action, named=named, held=held) == route.endpoint:
                yield Closed(office_id=office_id, action=action, named=named, held=held)

    def _route(self, what: Action | Literal["read_back"], one: Candidate | Claimed, *, size: int) -> Route:
        endpoint = self._kind.endpoint_of(what, named=one.named, held=one.held) if self._by_endpoint else ""
        return Route(endpoint, str(one.office_id) if self._by_office else "", size)


class Grants:
    """Permits by route: asked for together, used up before more are asked for, not asked for where there are none."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._spare: dict[Route, list[Permit]] = {}
        self._closed: dict[Route, tuple[float, LimitReachedError]] = {}

    @property
    def refusal(self) -> tuple[float, LimitReachedError] | None:
        """When the first of the limits that are reached opens (monotonic), and the error that says so."""
        return min(self._closed.values(), key=lambda closed: closed[0], default=None)

    @property
    def has_spare(self) -> bool:
        """Whether something that was granted waits for an item to leave on it."""
        return any(self._spare.values())

    @property
    def closed_routes(self) -> list[Route]:
        """The routes on which nothing more leaves for now."""
        return [route for route in self._closed if self.closed(route)]

    def closed(self, route: Route) -> bool:
        """Whether nothing more leaves on the route for now."""
        return route in self._closed and not self._spare.get(route)

    def open_again(self) -> bool:
        """Forget the limits whose time has come; whether there were any."""
        now = time.monotonic()
        opened = [route for route, (until, _) in self._closed.items() if until <= now]
        for route in opened:
            del self._closed[route]
        return bool(opened)

    def ask_again(self, finished: Collection[tuple[str, str | None]], *, everywhere: bool) -> bool:
        """Grants on these routes were used up sooner than the refusals took for granted; whether that opens any."""
        opened = [route for route in self._closed if everywhere or (route.endpoint, route.office or None) in finished]
        for route in opened:
            del self._closed[route]
        return bool(opened)

    def take(self, route: Route, count: int) -> list[Permit]:
        """Up to ``count`` permits; fewer, or none, when the limits are reached."""
        permits = self._spare.pop(route, [])
        if len(permits) < count and route not in self._closed:
            asked = time.monotonic()
            wanted = count - len(permits)
            more, grant = self._turnstile.permits(wanted, endpoint=route.endpoint, office=route.office or None)
            permits += more
            if len(more) < wanted:
                self._closed[route] = (asked + _seconds_until_more(grant), grant.refusal())
        return permits

    def spare(self, route: Route, permits: list[Permit]) -> None:
        """These have not been needed; what comes next on the route leaves on them."""
        self._spare.setdefault(route, []).extend(permits)

    def drop_spare(self) -> None:
        """Nothing comes next: what was granted and not used stays counted, and is over."""
        for permits in self._spare.values():
            for permit in permits:
                self._turnstile.returned(permit)
        self._spare.clear()


def _seconds_until_more(grant: Grant) -> float:
    """By the database's clock; an hour when that depends on a person."""
    return min(grant.seconds_until_more, 3600.0)
