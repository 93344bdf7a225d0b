"""The triggers that a task waits with. They only read, so that a restarted triggerer may run them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError

if TYPE_CHECKING:
    from partner_sync.quality.shared import Answer

_CONNECTION_ID = "sync_run"
#: Also before the first look: a trigger that fires before its task has ended meets a race in Airflow.
_LOOKS_EVERY_SECONDS = 15.0


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


class ValidationTrigger(BaseTrigger):
    """Fires when the shared validation is done with a run, well or not, or when nobody waits for it any longer.

    :param partner: the partner's slug.
    :param run_key: the run's own key.
    :param until_at: how long it is waited for (aware).
    :param waits_for: what is waited for, in our own codes; the waiting task's log shows it.
    """

    def __init__(self, *, partner: str, run_key: str, until_at: datetime, waits_for: str) -> None:
        super().__init__()
        if until_at.tzinfo is None:
            msg = "until_at is naive"
            raise ValueError(msg)
        self.partner = partner
        self.run_key = run_key
        self.until_at = until_at
        self.waits_for = waits_for

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "partner_sync_airflow.triggers.ValidationTrigger",
            {
                "partner": self.partner,
                "run_key": self.run_key,
                "until_at": self.until_at,
                "waits_for": self.waits_for,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.log.info(self.waits_for)
        while True:
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)
            answer = await self._look()
            if (answer is not None and answer.is_final) or datetime.now(UTC) >= self.until_at:
                yield TriggerEvent({"state": answer.state if answer else None})
                return

    async def _look(self) -> Answer | None:
        """What stands in quality.due; None also while the database is away, which ends by itself or at ``until_at``."""
        from partner_sync.quality.shared import answer_at
        from partner_sync_airflow.hooks.database import url_of
        from partner_sync_airflow.hooks.lookup import read_connection_in_triggerer

        try:
            connection = await read_connection_in_triggerer(_CONNECTION_ID)
            return await answer_at(url_of(connection), partner=self.partner, run_key=self.run_key)
        except (DatabaseAwayError, DatabaseRefusedError) as error:
            self.log.warning("The shared validation cannot be asked now. %s", error)
            return None
