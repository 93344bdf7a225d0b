"""kill -9 of Airflow's scheduler and triggerer during a push that has to wait for its limits again and again."""

from __future__ import annotations

import json

import pytest

from faults.live_airflow import SLUG, live_airflow
from faults.verdict import is_quiet, judged
from judge.running import asked, running

pytestmark = [pytest.mark.long, pytest.mark.live]
VISITS = 240
LIMIT = {"scope": "organization", "requests": 20, "per_seconds": 10}
#: In which state of the push's task, and what then.
KILLS = (("deferred", ["triggerer"]), ("running", ["scheduler"]), ("deferred", ["triggerer", "scheduler"]))


@pytest.mark.parametrize("style", ["keyed"])
def test_a_push_that_waits_survives_the_death_of_scheduler_and_triggerer(style: str) -> None:
    limits = json.dumps([LIMIT])
    with (
        running("visit_partner", style=style, limits=limits) as partner,
        running("dropping_proxy", to=partner) as line,
        live_airflow(line, visits=VISITS, style=style, limits=[LIMIT]) as live,
    ):
        run_id = live.push()
        for task_is, programs in KILLS:
            live.wait_until_task_is(task_is, run_id=run_id)
            for program in programs:
                live.kill(program)
        state = live.api.wait_for_run(f"{SLUG}__schedule_push", run_id, seconds=400)
        assert state == "success"
        verdict = judged(live.place, SLUG, organizations=[live.week.organization], address=partner)
        assert verdict.broken == {}
        assert is_quiet(live.place, SLUG)
        refused = [arrival for arrival in asked(partner, "/judge/arrivals") if not arrival[2]]
        assert refused == []
