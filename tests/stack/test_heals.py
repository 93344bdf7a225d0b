"""A whole stack, and what becomes of it when its database is away."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from live_stack import temporary_installation
from stack.leftovers import marked_processes, postmaster
from stack.programs import AIRFLOW_PROGRAMS
from stack.up import bring_up
from stack.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.live]


@pytest.fixture(scope="module")
def installation():
    with temporary_installation() as made:
        bring_up(made)
        yield made


def test_everything_is_healthy_again_about_a_minute_after_the_database_was_away_for_ten_seconds(installation):
    supervisor = installation.supervisor
    supervisor.stop_program("postgres")
    time.sleep(10)
    supervisor.start_programs(["postgres"])
    back_at = datetime.now(UTC)
    with installation.api() as api:
        api.wait_until_healthy(back_at, seconds=90)
        time.sleep(35)  # Airflow's own limit for a heartbeat: what has died meanwhile shows by now
        assert api.is_healthy(datetime.now(UTC).replace(microsecond=0) - (datetime.now(UTC) - back_at) / 2)
    assert {supervisor.states()[name] for name in AIRFLOW_PROGRAMS} == {"RUNNING"}


def test_a_second_start_changes_nothing_that_runs(installation):
    before = installation.supervisor.process_ids()
    began = time.monotonic()
    bring_up(installation)
    assert installation.supervisor.process_ids() == before
    assert time.monotonic() - began < 20


def test_the_idle_workers_of_a_killed_scheduler_are_gone_when_the_next_one_runs(installation):
    workers = workers_of(installation)
    assert len(workers) == 4
    os.kill(installation.supervisor.process_ids()["scheduler"], signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
    wait_until(lambda: len(workers_of(installation)) == 4, seconds=60, what="the next scheduler's workers")


def workers_of(installation):
    scheduler = psutil.Process(installation.supervisor.process_ids()["scheduler"])
    return [each for each in scheduler.children() if "airflow worker" in " ".join(each.cmdline())]


def test_stop_leaves_no_process_behind(installation):
    data = installation.cluster.data
    assert postmaster(data) is not None
    installation.stop()
    assert marked_processes(installation.supervisor.mark) == []
    assert postmaster(data) is None
