"""Beside ``postgres`` and ``database`` (tests/conftest.py): an organization, a partner that keeps visits, a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from partner_sync.kinds.interface import Access, PartnerKind
from partner_sync.kinds.registry import open_kind
from postgres.keeping_partner import BY_KEY, KeepingPartner, Pushes, partner_of
from postgres.limiter_clock import TestLedger
from postgres.listings import MasterBed
from postgres.product import Product, make_product
from postgres_server import Database, Server
from sandbox.running import RunningPartner
from scripted_server import OpenGate


@pytest.fixture
def keeping() -> Iterator[KeepingPartner]:
    with KeepingPartner() as running:
        yield running


@pytest.fixture
def product(database: Database) -> Product:
    return make_product(database)


@pytest.fixture
def bed(database: Database) -> MasterBed:
    """The steps of master syncs of an organization that the practice partners know as well."""
    return MasterBed(database)


@pytest.fixture
def kind(bed: MasterBed, practice: RunningPartner) -> Iterator[PartnerKind]:
    """The way to ほのか記録, which a test runs as ``practice``."""
    access = Access(base_url=practice.base_url, secret=practice.key(bed.organization).secret)
    opened = open_kind(bed.partner, access, OpenGate())
    yield opened
    opened.close()


@pytest.fixture
def pushes(product: Product, keeping: KeepingPartner) -> Callable[..., Pushes]:
    """A released week of so many visits, and a partner file."""

    def made_pushes(visits: int, push: dict[str, Any] = BY_KEY, **top: Any) -> Pushes:
        product.closed_week(*(f"v{number}" for number in range(visits)))
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
