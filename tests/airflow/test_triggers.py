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
