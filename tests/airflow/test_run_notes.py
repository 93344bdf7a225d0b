"""Run notes over real HTTP: what is sent to Airflow, and that no failure of it fails the run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from partner_sync.errors import FormError, NotLinkedError
from partner_sync_airflow.run_notes import LONGEST_NOTE, refusals_noted, shortened, write_note

CONTEXT = {"dag": SimpleNamespace(dag_id="honoka__schedule_push"), "run_id": "manual__2026-11-20T09:00:00+00:00"}
RUN = "/api/v2/dags/honoka__schedule_push/dagRuns/manual__2026-11-20T09%3A00%3A00%2B00%3A00"


@pytest.fixture
def api(receiver, put_connection):
    put_connection("partner_sync_api", conn_type="http", host=receiver.url, login="partner-sync", password="secret")
    receiver.answers["/auth/token"] = (201, {"access_token": "a-token"})
    return receiver


def test_a_note_is_written_with_a_token_to_this_run_and_to_nothing_else_of_it(api):
    assert write_note(CONTEXT, "週 48")
    (_, _, _, login), (method, path, headers, body) = api.received
    assert login == {"username": "partner-sync", "password": "secret"}
    assert (method, path) == ("PATCH", f"{RUN}?update_mask=note")
    assert (headers["Authorization"], body) == ("Bearer a-token", {"note": "週 48"})


def test_a_refusal_names_partner_and_organization_in_both_languages(api):
    with pytest.raises(NotLinkedError), refusals_noted(CONTEXT):
        raise NotLinkedError(partner="honoka", organization="aoba", direction="schedule")
    japanese, english = api.received[-1][3]["note"].splitlines()
    assert japanese.startswith("aobaは、honokaとの")
    assert english.startswith("Organization aoba has no enabled link to honoka")


def test_a_form_filled_in_wrongly_says_what_to_write_instead_in_both_languages(api):
    with pytest.raises(FormError), refusals_noted(CONTEXT):
        raise FormError(ja="方式を選んでください。", en="Choose a mode.")
    first, second = api.received[-1][3]["note"].splitlines()
    assert "入力内容に誤り" in first
    assert second == "方式を選んでください。 / Choose a mode."


@pytest.mark.parametrize(("path", "status"), [("/auth/token", 401), (RUN, 500)])
def test_a_note_that_airflow_refuses_fails_nothing(api, path, status):
    api.answers[path] = (status, {})
    assert write_note(CONTEXT, "x") is False


def test_a_note_without_a_connection_fails_nothing():
    assert write_note(CONTEXT, "x") is False


def test_a_note_to_an_airflow_that_is_away_fails_nothing(put_connection):
    put_connection("partner_sync_api", conn_type="http", host="http://127.0.0.1:1", login="x", password="y")
    assert write_note(CONTEXT, "x") is False


def test_a_long_note_is_cut_at_a_line_to_what_airflow_takes():
    note = shortened("\n".join(f"organization {n}: 1 stopped" for n in range(200)))
    assert len(note) <= LONGEST_NOTE
    assert note.splitlines()[-2].endswith("1 stopped")
    assert "log" in note.splitlines()[-1]
