"""The folders of the tests' own clusters: one that a killed session has left behind goes, all others stay."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postgres_server import sweep


def left_behind(parent: Path, name: str, *, age_seconds: float = 3600) -> Path:
    folder = parent / f"partner-sync-postgres-{name}"
    (folder / "postgres").mkdir(parents=True)
    (folder / "in-use").touch()
    then = folder.stat().st_mtime - age_seconds
    os.utime(folder, (then, then))
    return folder


def test_what_a_killed_session_has_left_behind_is_removed(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, "killed")
    sweep(tmp_path)
    assert not folder.exists()


def test_what_a_session_uses_or_has_just_begun_stays(tmp_path: Path) -> None:
    used, begun = left_behind(tmp_path, "used"), left_behind(tmp_path, "begun", age_seconds=0)
    with (used / "in-use").open() as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        sweep(tmp_path)
        assert used.exists()
    assert begun.exists()


def test_folders_of_another_kind_stay(tmp_path: Path) -> None:
    other = left_behind(tmp_path, "without-a-mark")
    (other / "in-use").unlink()
    os.utime(other, (0, 0))
    (tmp_path / "somebody-else").mkdir()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
