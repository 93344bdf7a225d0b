"""How the set-up commands speak when they cannot do what they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from partner_sync.errors import ConfigError, DatabaseAwayError
from stack.check_failure import explained, failure_in
from stack.commands import run_command
from stack.hold import order_of
from stack.home import CLONE


def test_a_database_that_is_away_is_answered_with_what_starts_it() -> None:
    def away() -> None:
        raise DatabaseAwayError(sqlstate="08000")

    with pytest.raises(SystemExit, match="`make up` starts it") as stopped:
        run_command(away)
    assert "08000" not in str(stopped.value)


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_a_hold_is_resumed_as_the_readme_says(readme: str) -> None:
    text = (Path(CLONE) / readme).read_text(encoding="utf-8")
    assert "`make hold PARTNER=<slug> RESUME=1`" in text
    assert "`make hold RESUME=1`" not in text
    made = order_of({"PARTNER": "honoka", "RESUME": "1"})
    assert (made.held, bool(made.reason)) == (False, True)


def test_a_hold_needs_its_reason() -> None:
    with pytest.raises(ConfigError, match="Say REASON too"):
        order_of({"PARTNER": "honoka"})


def test_resume_0_is_a_hold() -> None:
    assert order_of({"PARTNER": "honoka", "REASON": "noon", "RESUME": "0"}).held


def line(kind: str, text: str) -> dict[str, object]:
    return {"event": "Task failed with exception", "error_detail": [{"exc_type": kind, "exc_value": text}]}


def test_a_failed_check_says_what_happened_and_what_to_do_in_both_languages() -> None:
    log = [{"event": "before"}, line("PartnerAuthError", "honoka answered 401 to GET /v1/offices."), {"event": "after"}]
    told = failure_in(log, partner="honoka", organization="sakura-care")
    assert told == explained(
        "partner_auth", "honoka answered 401 to GET /v1/offices.", partner="honoka", organization="sakura-care"
    )
    assert told is not None
    assert "sakura-care" in told
    assert [text[:5] for text in told.splitlines()[1:]] == ["  ja:", "  en:"]


def test_the_text_of_a_library_is_not_repeated() -> None:
    told = failure_in([line("ValueError", "山田")], partner="honoka", organization="sakura-care")
    assert told is not None
    assert "ValueError" in told
    assert "山田" not in told


def test_a_log_without_an_error_explains_nothing() -> None:
    assert failure_in([{"event": "killed"}], partner="honoka", organization="sakura-care") is None
