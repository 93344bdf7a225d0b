"""One step over many organizations: who goes on, who stops, who waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync import errors
from partner_sync.links import Link
from partner_sync.steps.organizations import Patience, Waiting, each_organization, shards_of

# The suite takes minutes: what is told in hours is still to come when a test runs.
NOW = datetime.now(UTC)
PATIENT = Patience(until_at=NOW + timedelta(hours=12))
LAST_TRY = Patience(until_at=NOW + timedelta(hours=12), last_try=True)
AUTH = errors.PartnerAuthError(partner="honoka", endpoint="x", status=401)
AWAY = errors.PartnerUnavailableError(partner="honoka", endpoint="x", problem="503", retry_at=None)


def limit(hours):
    return errors.LimitReachedError(partner="honoka", retry_at=NOW + timedelta(hours=hours))


def run(told, *, patience=PATIENT):
    """Do a step in which each organization raises what ``told`` says; returns worked, failed and waiting."""
    worked, failed = [], {}

    def work(link):
        worked.append(link.organization)
        if told[link.organization] is not None:
            raise told[link.organization]

    links = [Link(partner="honoka", organization=code, connection_id="x", directions=()) for code in told]
    waiting = each_organization(
        links, work, failed=lambda link, error: failed.update({link.organization: error.code}), patience=patience
    )
    return worked, failed, waiting


def test_an_organization_that_stops_does_not_stop_the_others():
    assert run({"a": None, "b": AUTH, "c": None}) == (["a", "b", "c"], {"b": "partner_auth"}, None)


def test_those_who_wait_let_the_others_go_on_and_are_named_with_the_first_moment():
    worked, failed, waiting = run({"a": limit(9), "b": None, "c": limit(4)})
    assert (worked, failed) == (["a", "b", "c"], {})
    assert waiting == Waiting(organizations=("a", "c"), retry_at=NOW + timedelta(hours=4))


def test_a_wait_of_moments_is_slept_through_and_only_those_who_waited_are_asked_again():
    calls = []

    def work(link):
        calls.append(link.organization)
        if calls.count("a") < 3 and link.organization == "a":
            raise errors.LimitReachedError(partner="honoka", retry_at=datetime.now(UTC) + timedelta(seconds=0.05))

    links = [Link(partner="honoka", organization=code, connection_id="x", directions=()) for code in "ab"]
    assert each_organization(links, work, failed=lambda *_: None, patience=PATIENT) is None
    assert calls == ["a", "b", "a", "a"]


def test_short_waits_are_slept_through_for_so_long_only():
    patience = Patience(until_at=PATIENT.until_at, naps_seconds=0.3)
    began = datetime.now(UTC)
    waiting = run({"a": limit(-5)}, patience=patience)[2]
    assert datetime.now(UTC) - began < timedelta(seconds=2)
    assert waiting.organizations == ("a",)


def test_whoever_would_wait_longer_than_the_run_may_is_failed_and_the_others_wait_on():
    _, failed, waiting = run({"a": limit(60 * 13), "b": limit(1)})
    assert failed == {"a": "waiting_for_limit"}
    assert waiting.organizations == ("b",)


def test_who_waits_for_a_moment_that_nobody_can_name_asks_again_shortly():
    unnamed = errors.LimitReachedError(partner="honoka", retry_at=None)
    _, failed, waiting = run({"a": unnamed, "b": limit(1)})
    assert (failed, waiting.organizations) == ({}, ("a", "b"))
    assert waiting.retry_at < datetime.now(UTC) + timedelta(minutes=2)
    _, failed, waiting = run({"a": unnamed}, patience=Patience(until_at=datetime.now(UTC)))
    assert (failed, waiting) == ({"a": "waiting_for_limit"}, None)


def test_an_unreachable_partner_is_a_matter_of_the_whole_step_after_the_others_had_their_turn():
    with pytest.raises(errors.PartnerUnavailableError):
        run({"a": AWAY, "b": None})


def test_three_unreachable_in_a_row_end_the_step_at_once():
    calls = []

    def work(link):
        calls.append(link.organization)
        raise AWAY

    links = [Link(partner="honoka", organization=code, connection_id="x", directions=()) for code in "abcdef"]
    with pytest.raises(errors.PartnerUnavailableError):
        each_organization(links, work, failed=lambda *_: None, patience=PATIENT)
    assert calls == ["a", "b", "c"]


def test_on_the_last_try_an_organization_that_alone_cannot_reach_the_partner_stops_alone():
    assert run({"a": AWAY, "b": None}, patience=LAST_TRY)[1] == {"a": "partner_unreachable"}


def test_on_the_last_try_a_partner_that_nobody_reaches_is_still_a_matter_of_the_whole_step():
    with pytest.raises(errors.PartnerUnavailableError):
        run({"a": AWAY, "b": AWAY}, patience=LAST_TRY)


def test_a_database_that_is_away_ends_the_step_at_once():
    with pytest.raises(errors.DatabaseAwayError):
        run({"a": errors.DatabaseAwayError(sqlstate="57P01"), "b": None})


def test_an_error_that_is_not_ours_is_not_taken_for_an_organizations():
    with pytest.raises(ZeroDivisionError):
        run({"a": ZeroDivisionError()})


@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 16))
def test_shards_share_out_every_organization_once_and_evenly(codes, count):
    shards = shards_of(codes, count=count)
    assert sorted(code for shard in shards for code in shard) == sorted(codes)
    assert len(shards) <= count
    assert all(shards)
    assert max(map(len, shards), default=0) - min(map(len, shards), default=0) <= 1
