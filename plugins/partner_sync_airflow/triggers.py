"""The trigger that a task waits with. It reads the clock and nothing else: a restarted triggerer runs it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.triggers.base import TriggerEvent


class WaitTrigger(DateTimeTrigger):
    """DateTimeTrigger with a sentence, which the waiting task's log shows.

    :param moment: when to go on (aware).
    :param waits_for: what is waited for, in our own codes.
    """

    def __init__(self, moment: datetime, *, waits_for: str) -> None:
        super().__init__(moment=moment)
        self.waits_for = waits_for

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("partner_sync_airflow.triggers.WaitTrigger", {"moment": self.moment, "waits_for": self.waits_for})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.log.info(self.waits_for)
        async for event in super().run():
            yield event
