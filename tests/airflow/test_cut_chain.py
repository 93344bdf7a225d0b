"""What may be logged of an error: Airflow writes its text and everything that it came from."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from partner_sync.database import translated_errors
from partner_sync.errors import DatabaseRefusedError, PartnerSyncError
from partner_sync_airflow.cut_chain import CutChain, UnexpectedError

SECRET = "山田太郎"


def test_an_unexpected_error_tells_its_kind_and_place_but_not_its_text():
    with pytest.raises(UnexpectedError) as caught, CutChain():
        raise ValueError(SECRET)
    told = "".join(traceback.format_exception(caught.value))
    assert "ValueError" in str(caught.value)
    assert SECRET not in told.replace("raise ValueError(SECRET)", "")


def test_our_own_error_leaves_without_what_it_came_from():
    with pytest.raises(PartnerSyncError) as caught, CutChain():
        raise DatabaseRefusedError(sqlstate="23505", table="patient", constraint="pk") from ValueError(SECRET)
    assert caught.value.__cause__ is None
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_row_that_a_database_quotes_never_leaves(database):
    conn = database.admin()
    conn.execute("create temp table p (name text check (length(name) < 2))")
    with pytest.raises(DatabaseRefusedError) as caught, CutChain(), translated_errors():
        conn.execute("insert into p values (%s)", [SECRET])
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_deferral_and_airflows_own_errors_pass_as_they_are():
    from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

    for error in (AirflowSkipException("x"), TaskDeferred(trigger=None, method_name="resume")):
        with pytest.raises(type(error)), CutChain():
            raise error


def test_an_error_that_nothing_translated_does_not_quote_the_row(database):
    with pytest.raises(UnexpectedError) as caught, CutChain():
        database.admin().execute("select cast(%s as integer)", [SECRET])
    assert isinstance(caught.value.__context__, psycopg.Error)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
