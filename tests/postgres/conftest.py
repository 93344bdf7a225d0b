"""The fixtures ``postgres`` and ``database`` come from tests/conftest.py; here is the ledger that a module shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postgres.limiter_clock import TestLedger
from postgres_server import Server


@pytest.fixture(scope="module")
def shared_ledger(postgres: Server) -> Iterator[TestLedger]:
    """A limiter of its own, in one database for all tests of a module."""
    clone = postgres.clone()
    yield TestLedger(clone)
    clone.close()
    postgres.drop(clone.name)


@pytest.fixture
def ledger(shared_ledger: TestLedger) -> TestLedger:
    """An empty limiter."""
    shared_ledger.empty()
    return shared_ledger
