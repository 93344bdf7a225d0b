"""Which failures of a task are tried again. One table, by type (design, 7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import RetryPolicy
from airflow.sdk.definitions.context import Context
from airflow.sdk.definitions.retry_policy import RetryDecision
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError, AirflowTaskTimeout

from partner_sync.errors import (
    DatabaseAwayError,
    LimitReachedError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
)

#: With these a policy's backoff bridges about 15 minutes of absence.
RETRIES = 5
FIRST_DELAY_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 600.0

_PASSING = (DatabaseAwayError, PartnerUnavailableError, RateLimitedError, LimitReachedError)
#: Airflow's own trouble (its API, a trigger, a timeout, a process that was ended): Airflow's usual retries apply.
_OF_AIRFLOW = (AirflowException, AirflowRuntimeError, AirflowTaskTimeout, SystemExit)


class PartnerSyncRetryPolicy(RetryPolicy):
    """What passes by itself is tried again, after Retry-After or a growing delay; the rest fails at once."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the type of the exception; Airflow bounds the number of tries by ``retries``."""
        if isinstance(exception, _PASSING):
            return RetryDecision.retry(delay=_delay(exception, try_number), reason=exception.code)
        if isinstance(exception, PartnerSyncError):
            return RetryDecision.fail(reason=exception.code)
        if isinstance(exception, _OF_AIRFLOW):
            return RetryDecision.default()
        return RetryDecision.fail(reason=f"unexpected {type(exception).__name__}")


def backoff_seconds(try_number: int) -> float:
    """30 s, doubled with each try, at most 10 minutes. ``try_number`` counts from 1."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(try_number - 1, 16), LONGEST_DELAY_SECONDS)


def _delay(exception: PartnerSyncError, try_number: int) -> timedelta:
    retry_at: datetime | None = getattr(exception, "retry_at", None)
    if retry_at is None:
        return timedelta(seconds=backoff_seconds(try_number))
    # The moment was bounded where the answer was read; going earlier than the partner asks is forbidden.
    named = (retry_at - datetime.now(UTC)).total_seconds()
    floor = FIRST_DELAY_SECONDS if isinstance(exception, PartnerUnavailableError) else 1.0
    return timedelta(seconds=max(named, floor))
