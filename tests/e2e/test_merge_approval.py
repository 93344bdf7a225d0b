"""A sync that would remove a patient with visits to come, on a live Airflow: held, asked about once, and approved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from e2e.weeks_world import BY_HAND, World, weeks_world
from stack.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.long]

SYNC, APPROVE = "honoka__master_sync", "honoka__approve_merge"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A stack of its own: the patient who goes would be missed by the other tests."""
    with weeks_world() as found:
        yield found


def sync(world: World) -> str:
    run_id = world.api.trigger(SYNC, {"organizations": [BY_HAND], "entities": ["patient"]})
    world.api.wait_for_run(SYNC, run_id, seconds=300)
    return run_id


def questions(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.api.request("GET", f"dags/{APPROVE}/dagRuns")["dag_runs"]
    return found


def test_a_removal_with_visits_is_held_asked_about_once_and_done_after_a_yes(world: World) -> None:
    coming = (datetime.now(UTC) + timedelta(days=14)).date().isoformat()
    world.finalized(coming, organizations=[BY_HAND])
    [planned] = world.rows(
        "select x.source_key, x.canonical_id from canonical.crosswalk x"
        " join schedule.visit v on v.patient_id = x.canonical_id"
        " where x.partner = 'honoka' and x.entity = 'patient' and v.organization = %s and v.start_at > now() limit 1",
        BY_HAND,
    )
    world.partner.delete_patients(BY_HAND, keys=[planned["source_key"]])
    world.api.unpause(SYNC)
    held = sync(world)
    assert world.api.run(SYNC, held)["state"] == "failed"
    [question] = questions(world)
    run_id = question["dag_run_id"]
    wait_until(lambda: world.states(run_id, APPROVE).get("approve") == "awaiting_input", seconds=120, what=run_id)
    again = sync(world)
    assert world.states(again, SYNC)["ask"] == "skipped"
    assert len(questions(world)) == 1
    path = f"dags/{APPROVE}/dagRuns/{quote(run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
    body = world.api.request("GET", path)["body"]
    assert "a patient with visits to come would be removed" in body
    assert str(planned["canonical_id"]) in body
    assert planned["source_key"] not in body
    world.op.request("PATCH", path, json={"chosen_options": ["反映する / Merge"], "params_input": {}})
    assert world.ended(run_id, APPROVE)["state"] == "success"
    approved = world.ended(run_id.replace("ask__", "approved__"), SYNC)
    assert approved["state"] == "success"
    [row] = world.rows("select deleted_at from canonical.patient where id = %s", planned["canonical_id"])
    assert row["deleted_at"] is not None
