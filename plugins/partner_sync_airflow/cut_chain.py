"""The border at which errors become safe to log: Airflow writes an exception's text and its whole chain (rule 15)."""

from __future__ import annotations

import traceback
from types import TracebackType

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from partner_sync.errors import PartnerSyncError

_SPEAKABLE = (PartnerSyncError, AirflowException, AirflowRuntimeError)


class UnexpectedError(PartnerSyncError):
    """Something that no rule foresees. Its text is left out, because it may quote a record; its place is enough."""

    code = "unexpected"
    template = "Unexpected {kind} at {place}."


class CutChain:
    """A block that only our own and Airflow's errors leave, without a cause; others become UnexpectedError."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, _SPEAKABLE):
            error.__cause__ = None
            error.__suppress_context__ = True
            return
        raise UnexpectedError(kind=type(error).__name__, place=_place(trace)) from None


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames if "partner_sync" in frame.filename] or list(frames)
    if not ours:
        return "an unknown place"
    last = ours[-1]
    return f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno} ({last.name})"
