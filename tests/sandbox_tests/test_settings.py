"""The practice partner's settings, its check digits, and that it imports nothing of what it judges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sandbox.check_digits import check_digit, with_wrong_check_digit
from sandbox.running import TESTS_FOLDER
from sandbox.settings import PROFILE_SETTINGS, load_settings


def test_a_settings_file_changes_what_it_names_and_single_changes_win(tmp_path: Path) -> None:
    file = tmp_path / "practice.yaml"
    file.write_text("patients: 20\nseed: 3\nlimit: {requests: 5, per_seconds: 1}\n")
    settings = load_settings("honoka", file, {"seed": 4})
    assert (settings.patients, settings.seed, settings.limit.requests) == (20, 4, 5)
    assert settings.organizations == PROFILE_SETTINGS["honoka"].organizations


def test_a_settings_file_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "practice.json"
    file.write_text('{"practitioners": 2}')
    assert load_settings("tsubaki", file, {}).practitioners == 2


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "practice.yaml"
    file.write_text("patient: 20\n")
    with pytest.raises(ValidationError):
        load_settings("honoka", file, {})


@pytest.mark.parametrize("number", ["33120015", "138057", "19113760", "10131142", "2875104529", "2794900205"])
def test_published_numbers_have_the_check_digit_that_is_computed(number: str) -> None:
    assert check_digit(number[:-1]) == number[-1]
    assert check_digit(number[:-1]) != with_wrong_check_digit(number)[-1]


def test_the_practice_partner_judges_independently() -> None:
    program = "import sys, sandbox.running, sandbox.memory_server; print('partner_sync' in sys.modules)"
    folders = f"{TESTS_FOLDER}:{TESTS_FOLDER.parent / 'include'}"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": folders}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
