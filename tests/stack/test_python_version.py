"""Another Python than 3.11 is refused in one sentence."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from stack.home import CLONE
from stack.python_version import complaint


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 12, 1), (3, 13, 0), (2, 7, 18)])
def test_another_python_is_refused_in_one_sentence(version):
    assert complaint(version) == f"Python 3.11 is needed; this is Python {version[0]}.{version[1]}."


def test_python_3_11_is_taken():
    assert complaint((3, 11, 7)) is None


def test_make_says_in_one_sentence_that_python_is_missing(tmp_path):
    (tmp_path / "include" / "stack").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "include/stack/python_version.py"):
        shutil.copy(CLONE / name, tmp_path / name)
    command = ["make", "venv", "PYTHON=python3.11-that-is-not-there"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "Python 3.11 is needed: python3.11-that-is-not-there cannot be run."
    assert not (tmp_path / ".venv").exists()
