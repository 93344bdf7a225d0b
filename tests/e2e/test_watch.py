"""A change starts a push by itself: on a live Airflow, seen by what the practice partner received."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.conftest import Live

pytestmark = pytest.mark.live

#: A tick comes at the full minute; what is at the partner before the next one was started by the change itself.
_LONGEST_SECONDS = 30.0


def _note_of_a_visit(live: Live, text: str) -> str:
    """Change the note of a visit that is at the partner; returns the visit's id."""
    [row] = live.rows(
        "update schedule.visit v set revision = revision + 1, note = %s where visit_id = ("
        " select h.visit_id from sync.held h where h.partner = 'honoka' and h.organization = 'momiji-care'"
        " and h.week = %s order by h.visit_id desc limit 1) returning v.visit_id",
        text,
        live.week.monday,
    )
    return str(row["visit_id"])


def _wait_for_quiet_seconds(live: Live) -> None:
    """Return early in a minute, with no run on its way that could take the change along."""
    while not 3 <= time.time() % 60 <= 25 or _live_pushes(live, state=["queued", "running"]):
        time.sleep(0.5)


def _live_pushes(live: Live, **filters: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live.api.request("GET", "dags/honoka__live_push/dagRuns", params=filters)["dag_runs"]
    return found


def _runs_begun_by_a_change(live: Live, note: str) -> list[str]:
    """The kinds of the runs that came after a change, once it is at the partner."""
    _wait_for_quiet_seconds(live)
    changed, began_at = time.monotonic(), datetime.now(UTC)
    visit = _note_of_a_visit(live, note)
    while live.practice_visits("honoka", "momiji-care")[visit]["note"] != note:
        assert time.monotonic() - changed < _LONGEST_SECONDS
        time.sleep(0.2)
    return [run["run_type"] for run in _live_pushes(live, run_after_gte=began_at.isoformat())]


def test_a_change_is_at_the_partner_before_the_next_tick(live: Live) -> None:
    # On a busy machine a tick may come late and take a change along.
    tries = (_runs_begun_by_a_change(live, note) for note in ("key at the desk", "ring twice", "mind the cat"))
    assert next(filter(None, tries), []) == ["asset_triggered"]


def test_an_asset_run_reads_the_table_and_not_the_event(live: Live) -> None:
    """Two changes, one of them heard within the gathering time of the other: both arrive."""
    _wait_for_quiet_seconds(live)
    for text in ("first", "second"):
        visit = _note_of_a_visit(live, text)
        time.sleep(0.3)
    changed = time.monotonic()
    while live.practice_visits("honoka", "momiji-care")[visit]["note"] != "second":
        assert time.monotonic() - changed < _LONGEST_SECONDS
        time.sleep(0.2)
