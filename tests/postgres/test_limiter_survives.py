"""Grants are on disk before they are used: they survive a restart of PostgreSQL, and its death."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from partner_sync.database import connect
from partner_sync.limiter import Limit, Limits, acquire, pause
from postgres_server import running_cluster
from stack.bootstrap import bootstrap
from stack.logins import DATABASE
from stack.postgres import Cluster, stop, url_of

pytestmark = pytest.mark.long

LIMITS = Limits(
    limits=(
        Limit(scope="vendor", requests=100, per_seconds=3_600),
        Limit(scope="organization", requests=40, per_seconds=3_600, counts="token_bucket"),
        Limit(scope="organization", requests=9, counts="in_flight"),
    ),
    jitter_seconds=0.0,
    grant_ttl_seconds=300.0,
)


def taken(url: str, organization: str, count: int) -> int:
    """Calls granted on a connection of its own, which ends right after the answer."""
    with connect(url) as conn:
        facts = {"partner": "honoka", "organization": organization, "limits": LIMITS, "call_class": "request"}
        return acquire(conn, **facts, count=count).count  # type: ignore[arg-type]  # a dict of any facts


def end(cluster: Cluster, how: signal.Signals) -> None:
    """Signal the postmaster and wait until nothing of it is left; its backends leave by themselves when it is dead."""
    postmaster = int((cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, how)
    # Our child: until it is reaped, its number is taken and the next postmaster refuses to start.
    os.waitpid(postmaster, 0)
    until = time.monotonic() + 30
    while time.monotonic() < until and _backends(cluster):
        time.sleep(0.1)
    assert not _backends(cluster)


def _backends(cluster: Cluster) -> list[str]:
    alive = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            state, cwd = status.read_text().split("State:\t")[1][0], (status.parent / "cwd").resolve()
        except OSError:
            continue
        if state != "Z" and cwd == cluster.data:
            alive.append(status.parent.name)
    return alive


@contextmanager
def started_again(cluster: Cluster) -> Iterator[None]:
    process: subprocess.Popen[bytes] = cluster.start(cluster.prepare(), cluster.folder.parent / "postgres-again.log")
    try:
        yield
    finally:
        stop(process)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["restart", "crash"])
def test_what_was_granted_stays_counted_over_the_end_of_the_server(how: signal.Signals) -> None:
    with running_cluster() as (cluster, secrets):
        bootstrap(cluster.url(), secrets)
        url = url_of("sync_push", secrets.get("sync_push"), port=cluster.port, database=DATABASE)
        assert [taken(url, "aoba", 7), taken(url, "botan", 9)] == [7, 9]
        with connect(url) as conn:
            until_at = datetime.fromisoformat("2999-01-01T00:00:00+00:00")
            paused_until = pause(conn, partner="honoka", organization="cosmos", until_at=until_at)
        end(cluster, how)
        with started_again(cluster):
            assert [taken(url, "aoba", 9), taken(url, "botan", 9), taken(url, "cosmos", 9)] == [2, 0, 0]
            with connect(url) as conn:
                facts = {"partner": "honoka", "organization": "cosmos", "limits": LIMITS, "call_class": "request"}
                refused = acquire(conn, **facts, count=1)  # type: ignore[arg-type]  # a dict of any facts
            assert refused.retry_at is not None
            assert (refused.reason, refused.retry_at >= paused_until) == ("paused", True)
