"""What goes next: items are listed, granted and claimed in bulk, and lost answers looked up when their time comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from partner_sync.delivery.claims import Candidate, Claimed, Claims, LostAnswer
from partner_sync.delivery.errands import Errand
from partner_sync.delivery.routes import Grants, Route, Routes
from partner_sync.delivery.turnstile import Turnstile
from partner_sync.delivery.verdict import CALL_DIFFERS, PERSON_DECIDES, Verdict
from partner_sync.errors import LimitReachedError, UnmappableVisitError
from partner_sync.kinds.interface import PartnerKind
from partner_sync.partners.model import Partner

#: When to look again at a visit that the product, or another pusher, has in its hands.
BUSY_SECONDS = 2.0
#: How often lost answers are asked for while others are sent.
_LOOK_UP_EVERY_SECONDS = 1.0
#: How many items are listed at once; the claim looks at each of them again.
_LIST_AT_ONCE = 200
#: How often a list that held nothing but what cannot leave is asked for again.
_LIST_EVERY_SECONDS = 1.0

_I = TypeVar("_I", Candidate, Claimed)


class Feeder:
    """Makes errands ready as long as there is something to do and the ledger grants calls."""

    def __init__(
        self, partner: Partner, kind: PartnerKind, *, claims: Claims, turnstile: Turnstile, max_attempts: int
    ) -> None:
        self._kind = kind
        self._claims = claims
        self._routes = Routes(partner, kind)
        self._grants = Grants(turnstile)
        self._max_attempts = max_attempts
        # A call may leave as late as its grant lets it.
        self._settle_seconds = partner.timeouts.settle_after_seconds + partner.grant_ttl_seconds
        self._listed: deque[Candidate] = deque()
        self._list_at = 0.0
        self._alone: set[str] = set()
        # Visits that were there and could not be claimed: asking again at once would use up grant after grant.
        self._busy: dict[str, float] = {}
        self._look_up_at = 0.0

    @property
    def busy(self) -> int:
        """How many visits could not be claimed a moment ago."""
        return len(self._busy)

    @property
    def refusal(self) -> tuple[float, LimitReachedError] | None:
        """When the first of the limits that are reached opens (monotonic), and the error that says so."""
        return self._grants.refusal

    def ask_again(self, finished: Collection[tuple[str, str | None]], *, everywhere: bool) -> None:
        """Limits that seemed to be reached may be open: calls of these grants have all come back."""
        if self._grants.ask_again(finished, everywhere=everywhere):
            self._list_at = 0.0

    def errands(self, room: int) -> list[Errand]:
        """Up to ``room`` errands, claimed and granted: they leave as soon as a thread is free."""
        if self._grants.open_again():
            self._list_at = 0.0
        found = list(self._look_ups(room))
        while len(found) < room and (route := self._next_route()):
            found += self._sends(route, room - len(found))
        self._grants.drop_spare()
        return found

    def _sends(self, route: Route, room: int) -> Iterator[Errand]:
        """One claim's worth; also none, when others have the visits in their hands."""
        planned = self._parcels(self._of_route(route, room * route.size))
        permits = self._grants.take(route, min(room, len(planned)))
        self._listed.extendleft(one for parcel in reversed(planned[len(permits) :]) for one in reversed(parcel))
        asked = sorted(one.visit_id for parcel in planned[: len(permits)] for one in parcel)
        claimed = self._claims.claim_to_send(asked, settle_after_seconds=self._settle_seconds) if asked else ()
        self._note_busy(set(asked) - {one.visit_id for one in claimed})
        claimed = self._of_its_office(claimed, route)
        self._alone |= {one.visit_id for one in claimed if one.alone}
        made = self._parcels(claimed)
        # More calls than were granted: an item that must go alone, or one that is another action by now.
        if left := [one.attempt_id for parcel in made[len(permits) :] for one in parcel]:
            self._claims.give_up(left)
        self._bind(one for parcel in made[: len(permits)] for one in parcel)
        for parcel in made[: len(permits)]:
            yield Errand(what="send", items=tuple(parcel), permit=permits.pop())
        self._grants.spare(route, permits)

    def _bind(self, leaving: Iterable[Claimed]) -> None:
        """Where a lost call can only be repeated, what goes again must be what went (see ``_repeatable``)."""
        if self._kind.can.idempotency_key and not self._kind.can.read_back:
            keys = {one.attempt_id: key for one in leaving if (key := self._binding_key(one))}
            if keys:
                self._claims.note_keys(keys)

    def _binding_key(self, one: Claimed) -> str | None:
        try:
            return self._kind.binding_key(one.call)
        except UnmappableVisitError:
            # No call can be made of it: the errand says so.
            return None

    def _repeatable(self, taken: Sequence[Claimed]) -> tuple[Claimed, ...]:
        """Those of which the same key would carry the same call. The keys of people, or the partner file, may have
        changed since the first: the rest goes to a person.
        """
        same = [one for one in taken if one.sent_key in (None, self._binding_key(one))]
        self._give_to_a_person([one for one in taken if one not in same], CALL_DIFFERS)
        return self._claims.mark_sent(same, settle_after_seconds=self._settle_seconds)

    def _of_its_office(self, claimed: Sequence[Claimed], route: Route) -> tuple[Claimed, ...]:
        """A visit that has moved to another office since it was listed must leave on a grant of that office."""
        moved = [one for one in claimed if self._routes.of_item(one).office != route.office]
        if moved:
            self._claims.give_up([one.attempt_id for one in moved])
        return tuple(one for one in claimed if one not in moved)

    def _parcels(self, items: Iterable[_I]) -> list[list[_I]]:
        """The items in calls, each of one action, named or not, and as many as the partner takes; some go alone."""
        parcels: list[list[_I]] = []
        open_ones: dict[tuple[str, bool, bool], list[_I]] = {}
        for one in items:
            alike = (one.action, one.named, one.held)
            parcel = open_ones.get(alike)
            if one.visit_id in self._alone:
                parcels.append([one])
            elif parcel is None or len(parcel) == self._routes.size_of(one):
                parcels.append([one])
                open_ones[alike] = parcels[-1]
            else:
                parcel.append(one)
        return parcels

    def _next_route(self) -> Route | None:
        """The route of the next item that may go."""
        while self._routes.several or self._grants.has_spare or self._grants.refusal is None:
            while self._listed:
                route = self._routes.of_item(self._listed[0])
                if not self._grants.closed(route):
                    return route
                self._listed.popleft()
            if not self._list_more():
                return None
        return None

    def _list_more(self) -> bool:
        now = time.monotonic()
        self._busy = {visit: until for visit, until in self._busy.items() if until > now}
        if now < self._list_at:
            return False
        # What is closed is left out by the database: however much of it there is, the others are behind it.
        closed = [each for route in self._grants.closed_routes for each in self._routes.closed_by(route)]
        if any(each.all_of_them for each in closed):
            return False
        self._listed.extend(self._claims.candidates(_LIST_AT_ONCE, but=self._busy, closed=closed))
        if not self._listed and closed:
            self._list_at = now + _LIST_EVERY_SECONDS
        return bool(self._listed)

    def _of_route(self, route: Route, count: int) -> list[Candidate]:
        """The first items of this route; the others keep their order."""
        found: list[Candidate] = []
        others: list[Candidate] = []
        while self._listed and len(found) < count:
            one = self._listed.popleft()
            (found if self._routes.of_item(one) == route else others).append(one)
        self._listed.extendleft(reversed(others))
        return found

    def _note_busy(self, visits: Iterable[str]) -> None:
        self._busy.update(dict.fromkeys(visits, time.monotonic() + BUSY_SECONDS))

    def _look_ups(self, room: int) -> Iterator[Errand]:
        """Lost answers whose settle time has come, before anything new."""
        if time.monotonic() < self._look_up_at or room < 1:
            return
        due = self._claims.unknown_due(room)
        if len(due) < room:
            self._look_up_at = time.monotonic() + _LOOK_UP_EVERY_SECONDS
        if due and not self._routes.can_look_up:
            self._park(due)
            return
        for route, some in groupby(sorted(due, key=self._routes.of_look_up), self._routes.of_look_up):
            if not self._grants.closed(route):
                yield from self._look_up(route, list(some))

    def _look_up(self, route: Route, due: Sequence[LostAnswer]) -> Iterator[Errand]:
        """Read back; or, where that cannot be done, sent again under the same key."""
        permits = self._grants.take(route, len(due))
        taken: tuple[Claimed, ...] = ()
        if permits:
            attempts = [one.attempt_id for one in due[: len(permits)]]
            taken = self._claims.take_unknown(attempts, settle_after_seconds=self._settle_seconds)
        if taken and not self._kind.can.read_back:
            taken = self._repeatable(taken)
        for one in taken:
            yield Errand(what="look_up" if self._kind.can.read_back else "repeat", items=(one,), permit=permits.pop())
        self._grants.spare(route, permits)

    def _park(self, due: Sequence[LostAnswer]) -> None:
        attempts = [one.attempt_id for one in due]
        taken = self._claims.take_unknown(attempts, settle_after_seconds=self._settle_seconds)
        self._give_to_a_person(taken, PERSON_DECIDES)

    def _give_to_a_person(self, taken: Iterable[Claimed], why: Verdict) -> None:
        self._claims.settle({one.attempt_id: why for one in taken}, max_attempts=self._max_attempts)
