"""What tasks ask of a DAG run: its type and who started it as plain texts, and ids of bounded length."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

_LONGEST_ID = 200
_DIGEST_CHARACTERS = 16


class StartedRun(Protocol):
    """What of a DAG run says how it came to be."""

    run_type: Any
    triggering_user_name: str | None


def run_type(run: Any) -> str:
    """'manual', 'scheduled', 'backfill', 'operator_triggered', ...; Airflow gives a text or an enum's member."""
    return str(getattr(run.run_type, "value", run.run_type))


def started_by(run: StartedRun) -> str:
    """A person's login; without a person, the type of the run."""
    return run.triggering_user_name or run_type(run)


def bounded_id(text: str) -> str:
    """The same text, or where that is too long its beginning and a digest of the whole."""
    if len(text) <= _LONGEST_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{text[: _LONGEST_ID - _DIGEST_CHARACTERS - 1]}-{digest}"
