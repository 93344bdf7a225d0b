"""Starts ``<partner>__live_push`` when there is work, between two ticks: an asset that a trigger watches.

The wake-up is a hint: Airflow may attach an event to no run, and the run reads the to-do table (design, 8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from typing import Any

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError

_CONNECTION_ID = "sync_run"
_AGAIN_AFTER_SECONDS = 5.0
#: Told to every partner after the connection was lost: what was sent meanwhile was heard by nobody.
_EVERYBODY = "*"

_log = logging.getLogger(__name__)


def work_of(partner: str) -> Asset:
    """The asset that stands for new work of a partner."""
    watcher = AssetWatcher(name=f"{partner}__work", trigger=WorkTrigger(partner=partner))
    return Asset(name=f"{partner}__work", uri=f"x-partner-sync://{partner}/work", watchers=[watcher])


class WorkTrigger(BaseEventTrigger):
    """Fires when work was added for a partner. All of them share one listening connection in a triggerer.

    :param partner: the partner's slug.
    """

    def __init__(self, *, partner: str) -> None:
        super().__init__()
        self.partner = partner

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("partner_sync_airflow.watching.WorkTrigger", {"partner": self.partner})

    def shared_stream_key(self) -> Hashable:
        return (_CONNECTION_ID, "work")

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[str]:
        """Yield slugs without end; a database that is away is tried again, and then everybody is told once."""
        from partner_sync.listening import partners_with_work
        from partner_sync_airflow.hooks.database import url_of
        from partner_sync_airflow.hooks.lookup import read_connection_in_triggerer

        while True:
            try:
                connection = await read_connection_in_triggerer(_CONNECTION_ID)
                async for partner in partners_with_work(url_of(connection)):
                    yield partner
            except (DatabaseAwayError, DatabaseRefusedError) as error:
                _log.warning("Nobody listens for new work now; the tick of each minute goes on. %s", error)
            await asyncio.sleep(_AGAIN_AFTER_SECONDS)
            yield _EVERYBODY

    async def filter_shared_stream(self, shared_stream: AsyncIterator[str]) -> AsyncIterator[TriggerEvent]:
        async for partner in shared_stream:
            if partner in (self.partner, _EVERYBODY):
                yield TriggerEvent({"partner": self.partner})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Without a shared stream: the same with a connection of its own."""
        async for event in self.filter_shared_stream(self.open_shared_stream({})):
            yield event
