"""The arithmetic of the limits without sending."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from partner_sync.errors import ConfigError
from partner_sync.limiter import Limit, Limits, seconds_for

START = datetime(2026, 11, 23, 9, 10, tzinfo=UTC)


def test_620_calls_under_60_a_minute_take_ten_more_windows() -> None:
    limits = Limits(limits=(Limit(scope="organization", requests=60, per_seconds=60),), jitter_seconds=0.2)
    assert seconds_for(limits, 620, start_at=START) == pytest.approx(10 * 60.2)


def test_the_strictest_limit_decides() -> None:
    limits = Limits(
        limits=(
            Limit(scope="vendor", requests=600, per_seconds=60, counts="fixed_window"),
            Limit(scope="organization", requests=1, per_seconds=2, counts="spaced"),
        ),
        jitter_seconds=0.0,
    )
    assert seconds_for(limits, 31, start_at=START) == 60


def test_calls_that_fit_at_once_take_no_time() -> None:
    assert seconds_for(Limits(limits=(Limit(scope="vendor", requests=9, per_seconds=1),)), 9, start_at=START) == 0


def test_a_limit_on_another_endpoint_does_not_count() -> None:
    limits = Limits(limits=(Limit(scope="endpoint", endpoint="GET /v1/patients", requests=1, per_seconds=60),))
    assert seconds_for(limits, 9, start_at=START, endpoint="PUT /v1/visits/{key}") == 0
    assert seconds_for(limits, 2, start_at=START, endpoint="GET /v1/patients") == pytest.approx(60.2)


def test_jitter_that_leaves_no_room_in_a_fixed_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="no room"):
        Limits(limits=(Limit(scope="vendor", requests=9, per_seconds=1, counts="fixed_window"),), jitter_seconds=0.5)


def test_windows_that_are_never_open_together_are_refused() -> None:
    seven = {"scope": "vendor", "requests": 9, "per_seconds": 7, "counts": "fixed_window"}
    limits = Limits(limits=(Limit(**seven), Limit(**seven, anchor="00:01")), jitter_seconds=3.0)  # type: ignore[arg-type]  # a dict of any facts
    with pytest.raises(ConfigError, match="never open"):
        seconds_for(limits, 1, start_at=START)


def test_a_call_for_no_office_is_counted_as_one_for_an_office_of_its_own() -> None:
    limit = Limit(scope="office", requests=1, per_seconds=1)
    assert limit.owner("aoba", office=None, endpoint=None) != limit.owner("aoba", office="7", endpoint=None)
