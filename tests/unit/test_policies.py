"""A policy of the partner beside the limits of its file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.kinds.interface import Quota
from partner_sync.partners.model import Limit
from partner_sync.policies import compared

ORGANIZATION = {"scope": "organization", "requests": 60, "per_seconds": 60}
VENDOR = {"scope": "vendor", "requests": 600, "per_seconds": 60}
QUICK = {"scope": "organization", "requests": 10, "per_seconds": 1}


def limits(*given: dict[str, Any]) -> list[Limit]:
    return [Limit(**{**each, "per_seconds": float(each["per_seconds"])}) for each in given]


@pytest.mark.parametrize(
    ("file", "requests", "window_seconds", "differs", "scope"),
    [
        ([ORGANIZATION], 60, 60, "same", "organization"),
        ([ORGANIZATION], 50, 60, "smaller", "organization"),
        ([ORGANIZATION], 0, 60, "smaller", "organization"),
        ([ORGANIZATION], 61, 60, "larger", "organization"),
        # Either of two limits with the same window may be meant: the nearer one is.
        ([ORGANIZATION, VENDOR], 600, 60, "same", "vendor"),
        ([ORGANIZATION, VENDOR], 60, 60, "same", "organization"),
        ([ORGANIZATION, VENDOR], 500, 60, "smaller", "vendor"),
        ([ORGANIZATION, VENDOR], 70, 60, "larger", "organization"),
        # Another window: what the file lets through in it.
        ([ORGANIZATION], 120, 120, "same", "organization"),
        ([QUICK], 10_000, 86_400, "smaller", "organization"),
        ([QUICK], 1_000_000, 86_400, "larger", "organization"),
        ([ORGANIZATION], 10, 1, "smaller", "organization"),
        ([{**ORGANIZATION, "counts": "token_bucket", "burst": 5}], 65, 61, "smaller", "organization"),
        ([{**ORGANIZATION, "counts": "spaced"}], 1, 1, "same", "organization"),
        ([QUICK, ORGANIZATION], 3600, 3600, "same", "organization"),
    ],
)
def test_a_policy_is_compared_with_the_nearest_limit_of_the_file(
    file: list[dict[str, Any]], requests: int, window_seconds: float, differs: str, scope: str
) -> None:
    [found] = compared(limits(*file), [Quota(name="p", requests=requests, window_seconds=window_seconds)])
    assert (found.differs, found.limit.scope) == (differs, scope)


def test_a_quota_that_tells_no_policy_is_left_aside() -> None:
    told = [Quota(remaining=3), Quota(requests=3, remaining=2), Quota(window_seconds=60)]
    assert compared(limits(ORGANIZATION), told) == ()


def test_a_policy_without_a_name_is_known_by_its_window() -> None:
    [found] = compared(limits(ORGANIZATION), [Quota(requests=60, window_seconds=60)])
    assert found.name == "60s"


@given(
    st.lists(st.sampled_from([ORGANIZATION, VENDOR, QUICK]), min_size=1, max_size=3),
    st.integers(0, 10**9),
    st.floats(0.001, 366 * 86_400),
)
def test_every_policy_is_compared_whatever_its_size(file: list[dict[str, Any]], requests: int, window: float) -> None:
    [found] = compared(limits(*file), [Quota(requests=requests, window_seconds=window)])
    assert found.differs in {"same", "smaller", "larger"}
