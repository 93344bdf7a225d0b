"""Beside ``postgres`` and ``database`` (tests/conftest.py): an organization, a partner that keeps visits, a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postgres.keeping_partner import BY_KEY, KeepingPartner, Pushes, partner_of
from postgres.limiter_clock import TestLedger
from postgres.product import Product, make_product
from postgres_server import Database, Server


@pytest.fixture
def keeping() -> Iterator[KeepingPartner]:
    with KeepingPartner() as running:
        yield running


@pytest.fixture
def product(database: Database) -> Product:
    return make_product(database)


@pytest.fixture
def pushes(product: Product, keeping: KeepingPartner) -> Callable[..., Pushes]:
    """A released week of so many visits, and a partner file."""

    def made_pushes(visits: int, push: dict[str, Any] = BY_KEY, **top: Any) -> Pushes:
        for number in range(visits):
            product.visit(f"v{number}")
        product.week("finalized")
        found = Pushes(product, keeping, partner_of(push, **top))
        found.release()
        return found

    return made_pushes


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
