"""One PostgreSQL for the whole session, one database for each test: the fixtures ``postgres`` and ``database``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from live_stack import temporary_installation
from postgres_server import TEMPLATE, Clones, Database, Server, running_cluster
from stack.bootstrap import bootstrap
from stack.installation import Installation
from stack.up import bring_up

# A test must never meet the developer's own Airflow, database or home; nothing imported above reads these.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "PG", "PARTNER_SYNC"))]:
    del os.environ[_name]

# How long an example takes says how busy the machine is, and nothing of what a test is about.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests run in one process, and those that share a live Airflow too."""
    for item in items:
        folder = item.path.parent
        item.add_marker(pytest.mark.xdist_group(folder.name if folder.name in {"e2e", "browser"} else str(item.path)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of its own, bootstrapped, with a migrated template; gone at the end of the session."""
    # Without fsync a power cut may destroy the cluster, which nobody would miss; the tests are about twice as fast.
    quick = ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]
    # Each test signs in about ten times, with a password of many random letters.
    quick += ["scram_iterations = 1"]
    with running_cluster(*quick, sync=False) as (cluster, secret_store):
        bootstrap(cluster.url(), secret_store, database=TEMPLATE)
        yield Server(cluster, secret_store)


@pytest.fixture(scope="session")
def clones(postgres: Server) -> Iterator[Clones]:
    """Fresh copies of the migrated template."""
    with Clones(postgres) as ready:
        yield ready


@pytest.fixture
def database(clones: Clones) -> Iterator[Database]:
    """A fresh clone of the migrated template, dropped after the test."""
    clone = clones.take()
    yield clone
    clones.give_back(clone)


@pytest.fixture(scope="session")
def live_installation() -> Iterator[Installation]:
    """A whole stack with its own Airflow, healthy; about half a minute. Mark such tests ``live``."""
    with temporary_installation() as installation:
        bring_up(installation)
        yield installation
