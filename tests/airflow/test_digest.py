"""The digest of findings at the end of a master sync: told once, by severity, and never a word without news."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from partner_sync_airflow.operators.conclude import tell_findings
from partner_sync_airflow.report_links import report_url


def context(run_id="scheduled__2026-11-28T00:00:00+09:00", kind="master_sync"):
    dag_id = f"honoka__{kind}"
    ti = SimpleNamespace(task_id="conclude", dag_id=dag_id, run_id=run_id)
    return {"ti": ti, "dag": SimpleNamespace(dag_id=dag_id), "run_id": run_id}


@pytest.fixture
def alerts(receiver, put_connection, database, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    info = database.connect("run").info
    put_connection(
        "sync_run", conn_type="postgres", host=info.host, port=info.port, schema=info.dbname, login=info.user,
        password=info.password,
    )  # fmt: skip
    put_connection("partner_sync_alerts", conn_type="http", host=f"{receiver.url}/hook", password="token")
    return receiver


def opened(database, *found):
    """Findings as (organization, expectation, severity)."""
    validate = database.connect("validate")
    for organization, expectation, severity in found:
        validate.execute(
            "insert into quality.expectation values ('patient', %s, 'phone', 'accuracy', %s, 'partner',"
            " '電話番号の形になっている。', 'The phone number looks like one.') on conflict do nothing",
            [expectation, severity],
        )
        validate.execute(
            "insert into quality.finding (partner, organization, entity, expectation, severity, opened_run_key,"
            " last_run_key, evaluated, failed) values ('honoka', %s, 'patient', %s, %s, 'r1', 'r1', 100, 3)",
            [organization, expectation, severity],
        )


def closed(database, expectation):
    database.connect("validate").execute(
        "update quality.finding set closed_at = now(), closed_run_key = 'r2' where expectation = %s", [expectation]
    )


def tell():
    tell_findings(context(), partner="honoka")


def test_what_opened_is_told_once_by_severity_with_sentences_and_organizations(alerts, database):
    opened(database, ("aoba", "a", "warning"), ("wakaba", "a", "warning"), ("aoba", "b", "critical"))
    tell()
    tell()
    [(_, _, _, body)] = alerts.received
    assert (body["stage"], body["severity"], body["code"]) == ("met", "critical", "quality_findings")
    assert body["organizations"] == ["aoba", "wakaba"]
    text = body["text"]
    assert "重大 1, 警告 2" in text
    assert "critical 1, warning 2" in text
    assert "- [warning] patients: The phone number looks like one. / aoba, wakaba / 6 of 200 failed" in text
    assert text.index("[重大]") < text.index("[警告]")
    assert "担当: 連携先(ほのか記録)" in text
    assert text.endswith(body["url"])


def test_nothing_new_is_no_message(alerts):
    tell()
    assert alerts.received == []


def test_what_is_over_is_told_once_as_over(alerts, database):
    opened(database, ("aoba", "a", "warning"), ("aoba", "b", "info"))
    tell()
    closed(database, "a")
    tell()
    tell()
    assert len(alerts.received) == 2
    body = alerts.received[-1][3]
    assert (body["stage"], body["severity"]) == ("over", "info")
    assert "解消した指摘: 警告 1" in body["text"]
    assert "Findings that are over: warning 1" in body["text"]
    assert "New findings" not in body["text"]


def test_what_is_over_before_anybody_was_told_is_not_told_at_all(alerts, database):
    opened(database, ("aoba", "a", "warning"))
    closed(database, "a")
    tell()
    assert alerts.received == []


def test_many_findings_are_cut_short_and_counted(alerts, database):
    opened(database, *(("aoba", f"e{number:02}", "info") for number in range(14)))
    tell()
    text = alerts.received[0][3]["text"]
    assert text.count("- [info]") == 10
    assert "- and 4 more" in text


def test_a_receiver_or_a_database_that_is_away_fails_nothing(alerts, database, put_connection):
    opened(database, ("aoba", "a", "warning"))
    put_connection("partner_sync_alerts", conn_type="http", host="http://127.0.0.1:1/hook")
    tell()
    put_connection("sync_run", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    tell()
    assert alerts.received == []


def test_another_partners_findings_are_left_to_its_own_run(alerts, database):
    opened(database, ("aoba", "a", "warning"))
    database.admin().execute("update quality.finding set partner = 'tsubaki'")
    tell()
    assert alerts.received == []


def test_a_digest_holds_nothing_but_counts_codes_and_sentences(alerts, database):
    opened(database, ("aoba", "a", "warning"))
    tell()
    body = alerts.received[0][3]
    assert set(json.loads(json.dumps(body))) == {
        "text", "partner", "organizations", "step", "code", "owner", "severity", "stage", "escalated", "channel",
        "dag_id", "run_id", "url",
    }  # fmt: skip


def test_the_page_of_a_run_is_below_airflows_own_address(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/sync/")
    key = "honoka__master_sync/scheduled__2026-11-28T00%3A00%3A00%2B09%3A00"
    assert report_url(context()) == f"https://airflow.example/sync/quality/runs/honoka/{key}"


def test_other_dags_have_no_page_and_neither_has_an_airflow_that_does_not_know_its_address(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")
    assert report_url(context(kind="schedule_push")) is None
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert report_url(context()) is None
