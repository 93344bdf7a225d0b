"""kill -9 of Airflow's scheduler and triggerer during a push that has to wait for its limits again and again."""

from __future__ import annotations

import pytest

from faults.airflow_killed import push_on_killed_airflow

pytestmark = [pytest.mark.long, pytest.mark.live]


def test_a_push_that_waits_survives_the_death_of_scheduler_and_triggerer() -> None:
    survived = push_on_killed_airflow("keyed", visits=240)
    assert survived.state == "success"
    assert survived.verdict.broken == {}
    assert survived.refused == 0
