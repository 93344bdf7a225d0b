"""The sending process is killed at random moments, on a bad line, while the product goes on editing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from faults.editing_product import started_editing
from faults.partner_documents import partner_of
from faults.released_week import Place, ReleasedWeek
from faults.sender import Sending, started
from faults.verdict import Verdict, is_quiet, judged
from judge.running import asked, running

QUIET_SECONDS = 120.0
IDLE_SECONDS = 3.0
BEFORE_AND_AFTER_SECONDS = 2.0
_NEWEST = "select coalesce(max(id), 0) as n from sync.push_attempt"
_CLAIMED = "select count(*) as n from sync.push_attempt where state in ('claimed', 'sent') and id > %s"


@dataclass(frozen=True, kw_only=True)
class Line:
    """What stands between the sender and the visits: the partner's style, and how bad the line is."""

    style: str
    lost_answers: float = 0.02
    lost_calls: float = 0.005
    work_seconds: float = 0.02
    seed: int = 1


@dataclass
class Told:
    """What happened, and the judgement."""

    verdict: Verdict
    kills: int
    met_open_claims: int
    seconds: float
    line: dict[str, int] = field(default_factory=dict)


Disturb = Callable[["Scene"], None]


class Scene:
    """A released week, a partner behind a bad line, a sender and a product at work."""

    def __init__(self, place: Place, *, partner: str, proxy: str, week: ReleasedWeek, line: Line) -> None:
        self.place, self.address, self.week, self.line = place, partner, week, line
        self.chance = random.Random(line.seed)
        self._slug = week.partners[0]
        self.kills = 0
        self.met_open_claims = 0
        self._sending = Sending(
            push_url=place.url("push"),
            base_url=proxy,
            partner=partner_of(self._slug, style=line.style),
            organization=week.organization,
        )
        self._looking = place.admin()
        self._before = 0
        self._sender: BaseProcess = started(self._sending)

    def kill_sender(self, *, longest_seconds: float, at_work: bool) -> None:
        """Kill it at a random moment of its life, or of its work; count whether it had visits in its hands, and start
        another.
        """
        if at_work:
            self._wait_until_it_claims()
        time.sleep(self.chance.uniform(0, longest_seconds))
        self._end_sender()
        self.kills += 1
        self.met_open_claims += self._count(_CLAIMED, self._before) > 0
        self._before = self._count(_NEWEST)
        self._sender = started(self._sending)

    def edits(self, *, a_second: float) -> BaseProcess:
        return started_editing(self.place.url("product"), self.week, edits_a_second=a_second, seed=self.line.seed)

    def wait_until_quiet(self) -> None:
        """Raises AssertionError when the sender has ended by itself, or it never gets quiet."""
        ends_at = time.monotonic() + QUIET_SECONDS
        while not is_quiet(self.place, self._slug):
            assert self._sender.is_alive(), f"the sender ended by itself with status {self._sender.exitcode}"
            assert time.monotonic() < ends_at, "it never gets quiet"
            time.sleep(0.3)

    def close(self) -> None:
        self._sender.kill()
        self._sender.join()
        self._looking.close()

    def _end_sender(self) -> None:
        assert self._sender.is_alive(), f"the sender ended by itself with status {self._sender.exitcode}"
        self._sender.kill()
        self._sender.join()

    def _wait_until_it_claims(self) -> None:
        """At most some seconds: it may have nothing to do."""
        ends_at = time.monotonic() + IDLE_SECONDS
        while self._count(_NEWEST) == self._before and time.monotonic() < ends_at:
            time.sleep(0.01)

    def _count(self, query: str, *values: int) -> int:
        return int(self._looking.execute(query, values).fetchall()[0]["n"])


def played(place: Place, line: Line, disturb: Disturb, *, visits: int, edits_a_second: float, number: int = 1) -> Told:
    """Send ``visits`` while ``disturb`` does its worst and the product edits; judge when it is quiet again.

    ``number``: which organization and partner, for several plays in one database.
    """
    slug = f"judge_{number}"
    week = ReleasedWeek(number=number, partners=(slug,), visits=visits)
    week.make(place)
    started_at = time.monotonic()
    with ExitStack() as stack:
        style = {"style": line.style, "work_seconds": line.work_seconds, "seed": line.seed}
        partner = stack.enter_context(running("visit_partner", **style))
        losses = {"lost_answers": line.lost_answers, "lost_calls": line.lost_calls, "seed": line.seed}
        proxy = stack.enter_context(running("dropping_proxy", to=partner, **losses))
        scene = Scene(place, partner=partner, proxy=proxy, week=week, line=line)
        stack.callback(scene.close)
        editor = scene.edits(a_second=edits_a_second)
        stack.callback(editor.kill)
        disturb(scene)
        editor.kill()
        editor.join()
        scene.wait_until_quiet()
        verdict = judged(place, slug, organizations=[week.organization], address=partner)
        counts = asked(proxy, "/proxy/counts")
        return Told(verdict, scene.kills, scene.met_open_claims, time.monotonic() - started_at, counts)


def kills(count: int, *, longest_seconds: float = 0.3) -> Disturb:
    """So many kills: every other one at a random moment of the sender's life, the others while it is at work."""

    def disturb(scene: Scene) -> None:
        for number in range(count):
            scene.kill_sender(longest_seconds=longest_seconds, at_work=number % 2 == 1)

    return disturb


def goes_away(away: Callable[[], None]) -> Disturb:
    """What the sender needs is away for a while in the middle of the push."""

    def disturb(_scene: Scene) -> None:
        time.sleep(BEFORE_AND_AFTER_SECONDS)
        away()
        time.sleep(BEFORE_AND_AFTER_SECONDS)

    return disturb
