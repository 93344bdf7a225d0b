"""Both practice partners, each run once for the session and reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.running import RunningPartner


@pytest.fixture(scope="session")
def running_honoka() -> Iterator[RunningPartner]:
    with RunningPartner("honoka", patients=60, dirty_share=0.1) as partner:
        yield partner


@pytest.fixture(scope="session")
def running_tsubaki() -> Iterator[RunningPartner]:
    with RunningPartner("tsubaki", patients=60, dirty_share=0.1) as partner:
        yield partner


@pytest.fixture
def honoka(running_honoka: RunningPartner) -> RunningPartner:
    """ほのか記録 as it is at the start, with room for many calls."""
    running_honoka.reset()
    running_honoka.limit(1000, per_seconds=10)
    return running_honoka


@pytest.fixture
def tsubaki(running_tsubaki: RunningPartner) -> RunningPartner:
    """つばきケア as it is at the start, with room for many calls."""
    running_tsubaki.reset()
    running_tsubaki.limit(1000, per_seconds=10)
    return running_tsubaki


@pytest.fixture
def sakura(honoka: RunningPartner) -> Iterator[httpx.Client]:
    """A client of ほのか記録 signed in as sakura-care."""
    with honoka.client("sakura-care", timeout=10) as client:
        yield client


@pytest.fixture
def hinata(tsubaki: RunningPartner) -> Iterator[httpx.Client]:
    """A client of つばきケア signed in as hinata-care."""
    with tsubaki.client("hinata-care", timeout=10) as client:
        yield client
