"""A server that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running
