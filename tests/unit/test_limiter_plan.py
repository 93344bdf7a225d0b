"""The arithmetic of the limits without sending."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from partner_sync.errors import ConfigError
from partner_sync.kinds.interface import Quota
from partner_sync.limiter import Limit, Limits, seconds_for
from partner_sync.limits import USUAL_CALL_SECONDS, binding_of

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


def test_calls_at_once_are_planned_with_a_usual_time_for_each() -> None:
    limits = Limits(limits=(Limit(scope="vendor", requests=4, counts="in_flight"),))
    assert seconds_for(limits, 4, start_at=START) == 0
    assert seconds_for(limits, 400, start_at=START) == pytest.approx(99 * USUAL_CALL_SECONDS)


def test_a_lease_outlives_the_grant_and_the_call() -> None:
    assert Limits(limits=(), jitter_seconds=1.0, grant_ttl_seconds=10.0, call_seconds=35.0).lease_seconds == 46.0


# --- which limit a quota of the partner is about ------------------------------------------------------------------

SEVERAL = Limits(
    limits=(
        Limit(scope="vendor", requests=600, per_seconds=60),
        Limit(scope="organization", requests=60, per_seconds=60),
        Limit(scope="vendor", requests=5, counts="in_flight"),
        Limit(scope="vendor", requests=10_000, per_seconds=86_400),
    )
)


@pytest.mark.parametrize(
    ("quota", "place"),
    [
        (Quota(window_seconds=86_400), 3),
        (Quota(window_seconds=86_400, requests=999), 3),
        (Quota(window_seconds=60), 1),
        (Quota(window_seconds=60, requests=600), 0),
        (Quota(window_seconds=60, requests=61), 1),
        (Quota(requests=600), 0),
        (Quota(requests=5), 1),
        (Quota(requests=61), 1),
        (Quota(window_seconds=3_600, requests=600), 1),
        (Quota(), 1),
    ],
)
def test_a_quota_is_about_the_limit_that_is_most_like_it(quota: Quota, place: int) -> None:
    assert binding_of(SEVERAL, "aoba", None, None).place_of(quota) == place


def test_where_no_limit_is_the_organizations_a_quota_can_still_bind_it() -> None:
    binding = binding_of(Limits(limits=SEVERAL.limits[2:]), "aoba", None, None)
    assert binding.limits[binding.place_of(Quota(remaining=3))] == {
        "scope": "organization", "owner": "aoba", "counts": "told_only"
    }  # fmt: skip


def test_the_same_limit_twice_binds_once() -> None:
    assert len(binding_of(Limits(limits=SEVERAL.limits * 2), "aoba", None, None).limits) == 4
