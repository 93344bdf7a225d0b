"""Errors carry facts, cross process borders, and never a database's or a library's text."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import psycopg
import pytest

from partner_sync.database import translate, translated_errors
from partner_sync.errors import DatabaseAwayError, DatabaseRefusedError, LimitReachedError


def test_an_error_keeps_its_facts_over_a_process_border() -> None:
    error = LimitReachedError(partner="honoka", retry_at=datetime(2026, 11, 23, tzinfo=UTC))
    again = pickle.loads(pickle.dumps(error))
    assert (again.facts, str(again)) == (error.facts, str(error))
    assert again.retry_at == error.retry_at


def test_a_passing_database_error_is_told_from_a_refusal() -> None:
    assert isinstance(translate(psycopg.errors.AdminShutdown()), DatabaseAwayError)
    assert isinstance(translate(psycopg.errors.UniqueViolation()), DatabaseRefusedError)


def test_the_text_of_a_database_error_is_cut_off() -> None:
    with pytest.raises(DatabaseRefusedError) as caught, translated_errors():
        raise psycopg.errors.NotNullViolation("Failing row contains (山田, 花子)")
    assert "山田" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
