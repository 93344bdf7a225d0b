"""Several processes send under a partner's limits, and the partner judges by its own count of arrivals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from faults.partner_documents import partner_of
from faults.released_week import Place, ReleasedWeek
from faults.sender import Sending, started
from judge.allowances import Allowed, window_start
from judge.running import asked, running
from judge.second_client import ORGANIZATION as SECOND_CLIENT

PROCESSES = 4
#: What the partner file says; the way of a call takes up to three quarters of it, the machine the rest.
JITTER_SECONDS = 0.2
WAY_SECONDS = 0.15
WORK_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A partner with its limits. ``second_client_per_second``: what another client takes of them, unannounced.
    ``work_seconds``: how long it works on a call, half as much more or less.
    """

    slug: str
    limits: tuple[Allowed, ...]
    one_organization: bool = False
    says: str = "retry_after"
    second_client_per_second: float = 0.0
    work_seconds: float = WORK_SECONDS

    @property
    def longest_window_seconds(self) -> float:
        return max(limit.per_seconds for limit in self.limits)


CASES = (
    Case(slug="sliding", limits=(Allowed(scope="vendor", requests=200, per_seconds=10),)),
    Case(
        slug="sliding_one",
        limits=(Allowed(scope="organization", requests=100, per_seconds=10),),
        one_organization=True,
    ),
    Case(
        slug="fixed",
        limits=(
            Allowed(
                scope="vendor", requests=100, per_seconds=10, counts="fixed_window", zone="Asia/Tokyo", anchor="00:07"
            ),
        ),
    ),
    Case(slug="bucket", limits=(Allowed(scope="vendor", requests=10, per_seconds=1, counts="token_bucket", burst=20),)),
    Case(slug="spaced", limits=(Allowed(scope="vendor", requests=5, per_seconds=1, counts="spaced"),)),
    Case(
        slug="two_at_once",
        limits=(
            Allowed(scope="organization", requests=5, per_seconds=1),
            Allowed(scope="vendor", requests=100, per_seconds=10),
        ),
    ),
    Case(slug="in_flight", limits=(Allowed(scope="vendor", requests=6, counts="in_flight"),), work_seconds=0.5),
)
SHARED_CASES = tuple(
    Case(
        slug=f"shared_{says}",
        limits=(Allowed(scope="vendor", requests=40, per_seconds=5),),
        says=says,
        second_client_per_second=4.0,
    )
    for says in ("fields", "retry_after", "nothing")
)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How a limit was kept and used, after a first window. ``least_share`` is what window and jitter leave of it."""

    slug: str
    seconds: float
    allowed: float
    used: int
    refused: int
    refused_later: int
    sent_later: int
    least_share: float

    @property
    def share(self) -> float:
        return self.used / self.allowed

    @property
    def later_refused_share(self) -> float:
        """The refused share of our calls after the first minute."""
        return self.refused_later / max(1, self.sent_later)


def weeks_for(cases: Sequence[Case], *, visits: int) -> list[ReleasedWeek]:
    """One organization for each process, at all of the partners; the first one has enough for all processes."""
    slugs = tuple(case.slug for case in cases)
    return [
        ReleasedWeek(number=number, partners=slugs, visits=visits * (PROCESSES if number == 1 else 1))
        for number in range(1, PROCESSES + 1)
    ]


def measured(place: Place, cases: Sequence[Case], *, seconds: float, visits: int) -> list[Kept]:
    """Send to all of these partners at the same time for so long. ``visits``: for each process and partner."""
    weeks = weeks_for(cases, visits=visits)
    for week in weeks:
        week.make(place)
    with ExitStack() as stack:
        addresses = {case.slug: stack.enter_context(_partner(case)) for case in cases}
        senders = [started(*_sendings(place, cases, week=week, addresses=addresses)) for week in weeks]
        for sender in senders:
            stack.callback(sender.kill)
        time.sleep(seconds)
        assert all(sender.is_alive() for sender in senders), "a sender ended by itself"
        return [kept(case, asked(addresses[case.slug], "/judge/arrivals")) for case in cases]


@contextmanager
def _partner(case: Case) -> Iterator[str]:
    """The address of the judging partner, with the second client at work."""
    limits = json.dumps([asdict(limit) for limit in case.limits])
    ways = {"jitter_seconds": WAY_SECONDS, "work_seconds": case.work_seconds}
    with running("counting_partner", limits=limits, says=case.says, **ways) as address, ExitStack() as stack:
        if case.second_client_per_second:
            rate = {"per_second": case.second_client_per_second}
            stack.enter_context(running("second_client", to=address, **rate))
        yield address


def _sendings(
    place: Place, cases: Sequence[Case], *, week: ReleasedWeek, addresses: dict[str, str]
) -> Iterator[Sending]:
    for case in cases:
        yield Sending(
            push_url=place.url("push"),
            base_url=addresses[case.slug],
            partner=partner_of(
                case.slug, limits=[_as_file(limit) for limit in case.limits], jitter_seconds=JITTER_SECONDS
            ),
            organization="org-1" if case.one_organization else week.organization,
            call_class="request",
            longest_wait_seconds=LONGEST_WAIT_SECONDS,
        )


def _as_file(limit: Allowed) -> dict[str, Any]:
    """The limit as the partner file says it, without the keys that its kind does not take."""
    document = {name: value for name, value in asdict(limit).items() if value is not None}
    if limit.counts != "fixed_window":
        document = {name: value for name, value in document.items() if name not in {"zone", "anchor"}}
    if limit.counts == "in_flight":
        del document["per_seconds"]
    return document


def kept(case: Case, arrivals: Sequence[tuple[float, str, bool, int]]) -> Kept:
    """The figures of one partner, by the arrivals that it counted."""
    first = min((at for at, who, *_ in arrivals if who != SECOND_CLIENT), default=0.0)
    last = max((at for at, *_ in arrivals), default=0.0)
    window = case.longest_window_seconds
    # Whole windows after the first one, which everybody begins with a burst.
    begins_at = first + window
    if case.limits[0].counts == "fixed_window":
        begins_at = window_start(case.limits[0], begins_at) + window
    seconds = (last - begins_at) // window * window
    ours = [(at, allowed) for at, who, allowed, _ in arrivals if who != SECOND_CLIENT]
    later = [allowed for at, allowed in ours if at >= first + 60]
    return Kept(
        slug=case.slug,
        seconds=seconds,
        allowed=min(_allowed(case, limit) for limit in case.limits) * seconds - case.second_client_per_second * seconds,
        used=sum(allowed for at, allowed in ours if begins_at <= at < begins_at + seconds),
        refused=sum(not allowed for _, allowed in ours),
        refused_later=sum(not allowed for allowed in later),
        sent_later=len(later),
        least_share=min(_window(case, limit) / (_window(case, limit) + JITTER_SECONDS) for limit in case.limits),
    )


def _allowed(case: Case, limit: Allowed) -> float:
    """Calls a second, of all organizations together."""
    owners = PROCESSES if limit.scope == "organization" and not case.one_organization else 1
    seconds = case.work_seconds if limit.counts == "in_flight" else limit.per_seconds
    return owners * limit.requests / seconds


def _window(case: Case, limit: Allowed) -> float:
    """After how many seconds a call counts no longer."""
    return {"spaced": limit.per_seconds / limit.requests, "in_flight": case.work_seconds}.get(
        limit.counts, limit.per_seconds
    )


def table(found: Sequence[Kept]) -> str:
    """In Markdown."""
    lines = [
        "| limit | seconds | allowed | used | share | window / (window + jitter) | over (429) | 429 after a minute |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = [
        f"| {one.slug} | {one.seconds:.0f} | {one.allowed:,.0f} | {one.used:,} | {one.share:.1%} "
        f"| {one.least_share:.1%} | {one.refused} | {one.later_refused_share:.1%} |"
        for one in found
    ]
    return "\n".join([*lines, *rows])
