"""A home in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.home import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home in a folder that every user can walk through, as a clone's folder usually is."""
    with tempfile.TemporaryDirectory(prefix="partner-sync-home-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        made = Home(Path(name) / "home")
        made.make()
        yield made
