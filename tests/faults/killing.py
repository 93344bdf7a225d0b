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

QUIET_SECONDS = 90.0


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
        self._sender: BaseProcess = started(self._sending)

    def kill_sender(self, *, after_seconds: float) -> None:
        """Kill it, count whether it had a visit in its hands, and start another."""
        time.sleep(after_seconds)
        self._end_sender()
        self.kills += 1
        self.met_open_claims += self._open_claims() > 0
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

    def _end_sender(self) -> None:
        assert self._sender.is_alive(), f"the sender ended by itself with status {self._sender.exitcode}"
        self._sender.kill()
        self._sender.join()

    def _open_claims(self) -> int:
        with self.place.admin() as admin:
            query = "select count(*) as n from sync.push_attempt where state in ('claimed', 'sent')"
            return int(admin.execute(query).fetchall()[0]["n"])


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


def kills(count: int, *, longest_life_seconds: float) -> Disturb:
    """So many kills, each at a random moment of the sender's life."""

    def disturb(scene: Scene) -> None:
        for _ in range(count):
            scene.kill_sender(after_seconds=scene.chance.uniform(0, longest_life_seconds))

    return disturb
