"""The task that stands in for a partner whose file cannot be read."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow.sdk.definitions.context import Context

from partner_sync.errors import PartnerFileError
from partner_sync_airflow.operators.base import PartnerSyncOperator


class BrokenPartnerFileOperator(PartnerSyncOperator):
    """Fails and lists every problem of the partner file.

    :param problems: each with file, line and column.
    """

    ui_color = "#f6d5d5"

    def __init__(self, *, problems: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def work(self, context: Context) -> NoReturn:
        raise PartnerFileError(partner=self.partner, problems="\n".join(self.problems))
