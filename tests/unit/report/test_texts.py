"""All sentences of the pages: both languages, none missing, none left over."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from partner_sync.report.moments import age
from partner_sync.report.office_file import COLUMNS
from partner_sync.report.scores import DIMENSIONS, SEVERITIES, Weights
from partner_sync.report.texts import Texts, entries, language_of

TEMPLATES = Path(__file__).parents[3] / "plugins" / "partner_sync_airflow" / "pages" / "templates"
#: Keys that a template or a module puts together.
MADE = {
    *(f"dimension.{name}" for name in DIMENSIONS),
    *(f"severity.{name}" for name in SEVERITIES),
    *(f"owner.{name}" for name in ("user", "partner", "us")),
    *(f"entity.{name}" for name in ("office", "practitioner", "patient", "visit")),
    *(f"section.{name}" for name in ("overview", "findings", "quarantine", "audit")),
    *(f"refused.{code}" for code in (401, 403, 404, 422, 500, 503)),
    *(f"record.{name}" for name in ("kept", "newer", "deleted", "released", "done_released")),
    *(f"action.{name}" for name in ("unmask_record", "unmask_keys", "download_csv", "release_record")),
    *(f"drift.{name}" for name in ("new", "vanished", "changed")),
    *(f"file.{name}" for name in COLUMNS),
}


def used() -> set[str]:
    html = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    return set(re.findall(r"""\bt\("([a-z_.0-9]+)"[,)]""", html)) | MADE


def test_every_key_that_is_used_is_written_and_no_other() -> None:
    assert used() == set(entries())


@pytest.mark.parametrize("key", entries())
def test_both_languages_say_the_same_facts(key: str) -> None:
    ja, en = (
        {name for _, name, _, _ in string.Formatter().parse(entries()[key][each]) if name} for each in ("ja", "en")
    )
    assert ja == en
    assert set(entries()[key]) == {"ja", "en"}


def test_templates_hold_no_sentence_of_their_own() -> None:
    for path in TEMPLATES.glob("*.html"):
        text = re.sub(r"\{[{%#].*?[}%#]\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        bare = re.sub(r"<[^>]*>", " ", text)
        assert not re.search(r"[ぁ-んァ-ヶ一-龠]", bare), path.name
        assert set(re.findall(r"[A-Za-z]{4,}", bare)) <= {"Shift", "JIS"}, path.name


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "ja"),
        ("ja", "ja"),
        ("en-US,en;q=0.9", "en"),
        ("fr, en;q=0.2", "en"),
        ("en;q=0.5,ja;q=0.9", "ja"),
        ("en;q=x", "ja"),
    ],
)
def test_a_browser_gets_the_language_that_it_asks_for(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_a_code_without_words_is_shown_as_it_is() -> None:
    assert Texts("en").word("entity", "planet") == "planet"
    assert Texts("ja").sentence({"ja": None, "en": None}, code="name_present") == "name_present"


def test_a_score_of_nothing_is_none_and_parts_can_be_added() -> None:
    assert Weights().score is None
    assert (Weights(10, 1) + Weights(90, 1)).score == pytest.approx(0.98)


def test_ages_are_told_in_the_unit_that_fits() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 11, 28, tzinfo=UTC)
    told = [age(now - timedelta(minutes=minutes), now, "en") for minutes in (0, 59, 60, 180, 1440, 4320)]
    assert told == ["1 minute", "59 minutes", "1 hour", "3 hours", "1 day", "3 days"]
    assert age(now - timedelta(days=3), now, "ja") == "3日"
