"""A push on a live Airflow that waits for its limits again and again, while its servers are killed."""

from __future__ import annotations

import json
from dataclasses import dataclass

from faults.live_airflow import SLUG, live_airflow
from faults.verdict import Verdict, judged
from judge.running import asked, running

#: Its window is long enough that the push gives its worker back each time, also on a machine that sends slowly.
LIMIT = {"scope": "organization", "requests": 40, "per_seconds": 30}
#: In which state of the task that sends, and what is killed then.
KILLS = (("deferred", ["triggerer"]), ("running", ["scheduler"]), ("deferred", ["triggerer", "scheduler"]))
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Survived:
    """How the run ended, the judgement, and how many calls met the partner's limit."""

    state: str
    verdict: Verdict
    refused: int


def push_on_killed_airflow(style: str, *, visits: int) -> Survived:
    """Send a week under a limit through a live stack of its own, whose servers are killed."""
    limits = json.dumps([LIMIT])
    with (
        running("visit_partner", style=style, limits=limits) as partner,
        running("dropping_proxy", to=partner) as line,
        live_airflow(line, visits=visits, style=style, limits=[LIMIT]) as live,
    ):
        run_id = live.push()
        for task_is, programs in KILLS:
            live.wait_until_sending_is(task_is, run_id=run_id)
            for program in programs:
                live.kill(program)
        state = live.api.wait_for_run(f"{SLUG}__schedule_push", run_id, seconds=PATIENCE_SECONDS)
        verdict = judged(live.place, SLUG, organizations=[live.week.organization], address=partner)
        refused = sum(not allowed for _, _, allowed, _ in asked(partner, "/judge/arrivals"))
        return Survived(state=state, verdict=verdict, refused=refused)
