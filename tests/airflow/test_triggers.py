"""The trigger that waits: serialized, brought back, fired; driven by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

MOMENT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def test_a_trigger_serializes_to_its_path_and_its_arguments():
    from partner_sync_airflow.triggers import WaitTrigger

    path, arguments = WaitTrigger(MOMENT, waits_for="honoka: sakura").serialize()
    assert path == "partner_sync_airflow.triggers.WaitTrigger"
    assert arguments == {"moment": MOMENT, "waits_for": "honoka: sakura"}


def test_a_trigger_comes_back_from_the_triggerer_as_it_was():
    from airflow.sdk.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize

    from partner_sync_airflow.triggers import WaitTrigger

    path, arguments = WaitTrigger(MOMENT, waits_for="honoka: sakura").serialize()
    back = import_string(path)(**deserialize(serialize(arguments)))
    assert (back.moment, back.waits_for) == (MOMENT, "honoka: sakura")


def test_a_trigger_fires_once_its_moment_has_come():
    from partner_sync_airflow.triggers import WaitTrigger

    trigger = WaitTrigger(datetime.now(UTC) - timedelta(seconds=1), waits_for="honoka: sakura")
    event = asyncio.run(anext(trigger.run()))
    assert event.payload == trigger.moment


def test_a_trigger_wants_an_aware_moment():
    from partner_sync_airflow.triggers import WaitTrigger

    with pytest.raises(ValueError, match="naive"):
        WaitTrigger(datetime(2026, 11, 20), waits_for="x")  # noqa: DTZ001  # naive on purpose


def waiting_for_validation(until_at=MOMENT):
    from partner_sync_airflow.triggers import ValidationTrigger

    return ValidationTrigger(partner="honoka", run_key="r1", until_at=until_at, waits_for="honoka: the validation")


def test_the_wait_for_a_validation_serializes_to_its_path_and_its_arguments():
    path, arguments = waiting_for_validation().serialize()
    assert path == "partner_sync_airflow.triggers.ValidationTrigger"
    assert arguments == {
        "partner": "honoka",
        "run_key": "r1",
        "until_at": MOMENT,
        "waits_for": "honoka: the validation",
    }


def test_the_wait_for_a_validation_comes_back_from_the_triggerer_as_it_was():
    from airflow.sdk.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize

    path, arguments = waiting_for_validation().serialize()
    back = import_string(path)(**deserialize(serialize(arguments)))
    assert back.serialize() == (path, arguments)


def test_the_wait_for_a_validation_wants_an_aware_moment():
    with pytest.raises(ValueError, match="naive"):
        waiting_for_validation(datetime(2026, 11, 20))  # noqa: DTZ001  # naive on purpose


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr("partner_sync_airflow.triggers._LOOKS_EVERY_SECONDS", 0.05)


@pytest.fixture
def sync_run(database, put_connection):
    info = database.connect("run").info
    put_connection(
        "sync_run", conn_type="postgres", host=info.host, port=info.port, schema=info.dbname, login=info.user,
        password=info.password,
    )  # fmt: skip
    return database


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


def test_the_wait_for_a_validation_ends_when_the_run_was_judged(sync_run, quickly):
    from partner_sync.quality.shared import Due, ask, judge_due

    conn = sync_run.connect("validate")
    ask(conn, Due(partner="honoka", run_key="r1", dag="master_sync", organizations=["aoba"], entities=["office"]))

    async def fired():
        event = asyncio.ensure_future(anext(waiting_for_validation(in_an_hour()).run()))
        await asyncio.sleep(0.5)
        assert not event.done()
        await asyncio.to_thread(lambda: list(judge_due(conn, lambda _: None)))
        return await asyncio.wait_for(event, timeout=30)

    assert asyncio.run(fired()).payload == {"state": "done"}


def test_the_wait_for_a_validation_ends_at_its_moment_also_when_the_database_is_away(put_connection, quickly):
    put_connection("sync_run", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    event = asyncio.run(anext(waiting_for_validation(soon).run()))
    assert event.payload == {"state": None}
    assert datetime.now(UTC) >= soon
