"""The trigger that starts a live push: serialized, brought back, fed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


async def _stream(*heard: str) -> AsyncIterator[str]:
    for partner in heard:
        yield partner


def test_a_trigger_serializes_to_its_path_and_its_partner():
    from partner_sync_airflow.watching import WorkTrigger

    path, arguments = WorkTrigger(partner="honoka").serialize()
    assert path == "partner_sync_airflow.watching.WorkTrigger"
    assert arguments == {"partner": "honoka"}


def test_a_trigger_comes_back_from_the_triggerer_as_it_was():
    from airflow.sdk.module_loading import import_string

    from partner_sync_airflow.watching import WorkTrigger

    path, arguments = WorkTrigger(partner="honoka").serialize()
    assert import_string(path)(**arguments).partner == "honoka"


def test_a_trigger_fires_for_its_own_partner_and_when_everybody_is_told():
    from partner_sync_airflow.watching import WorkTrigger

    async def fired() -> list[object]:
        stream = _stream("tsubaki", "honoka", "*", "tsubaki")
        return [event.payload async for event in WorkTrigger(partner="honoka").filter_shared_stream(stream)]

    assert asyncio.run(fired()) == [{"partner": "honoka"}, {"partner": "honoka"}]


def test_all_partners_share_one_listening_connection():
    from partner_sync_airflow.watching import WorkTrigger

    assert WorkTrigger(partner="a").shared_stream_key() == WorkTrigger(partner="b").shared_stream_key()
