"""Which errors Airflow tries again, when, and which it fails at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync import errors


def decide(error, try_number=1):
    from partner_sync_airflow.retry_policy import PartnerSyncRetryPolicy

    return PartnerSyncRetryPolicy().evaluate(error, try_number, 5)


def away(retry_at=None):
    return errors.PartnerUnavailableError(
        partner="honoka", endpoint="GET /v1/offices", problem="503", retry_at=retry_at
    )


@pytest.mark.parametrize("error", [away(), errors.DatabaseAwayError(sqlstate="57P01")], ids=lambda error: error.code)
def test_what_passes_by_itself_is_tried_again_after_half_a_minute(error):
    decision = decide(error)
    assert (decision.action.value, decision.retry_delay) == ("retry", timedelta(seconds=30))
    assert decision.reason == error.code


def test_the_moment_that_the_partner_names_is_kept():
    decision = decide(away(datetime.now(UTC) + timedelta(minutes=7)))
    assert timedelta(minutes=6, seconds=50) < decision.retry_delay <= timedelta(minutes=7)


def test_a_moment_that_has_passed_does_not_make_the_retry_immediate():
    assert decide(away(datetime.now(UTC) - timedelta(hours=1))).retry_delay == timedelta(seconds=30)


@given(st.integers(min_value=1, max_value=10_000))
def test_the_delay_grows_with_the_tries_up_to_ten_minutes(try_number):
    from partner_sync_airflow.retry_policy import backoff_seconds

    assert 30 <= backoff_seconds(try_number) <= backoff_seconds(try_number + 1) <= 600


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigError(problem="x"),
        errors.NothingFinalizedError(week="w", organizations="sakura"),
        errors.InvalidWeekError(value="x"),
        errors.UnknownOrganizationError(organization="x", suggestions=""),
        errors.DataQualityError(suite="patient", count=1, expectations="x"),
        errors.DatabaseRefusedError(sqlstate="23505", table="t", constraint="c"),
        errors.PartnerAuthError(partner="honoka", endpoint="x", status=401),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_person_must_correct_fails_at_once(error):
    assert decide(error).action.value == "fail"


def test_an_error_that_nobody_foresaw_fails_at_once_and_its_text_is_not_repeated():
    decision = decide(ValueError("Yamada Taro"))
    assert (decision.action.value, decision.reason) == ("fail", "unexpected ValueError")


def test_airflows_own_trouble_follows_airflows_own_retries():
    from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError

    assert {decide(error).action.value for error in (AirflowTaskTimeout(), TaskDeferralError(), SystemExit(1))} == {
        "default"
    }
