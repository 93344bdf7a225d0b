"""Secrets are made once, and nobody else can read them."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

from stack.home import Home
from stack.secret_store import SecretStore


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_closed_to_everybody_else(home):
    assert mode(home.path) == 0o700


def test_making_a_home_changes_no_mode_above_it(tmp_path):
    tmp_path.chmod(0o751)
    Home(tmp_path / "inside").make()
    assert mode(tmp_path) == 0o751


def test_secrets_lie_in_a_file_that_only_its_owner_reads(home):
    SecretStore(home.secrets_file).get("fernet_key")
    assert mode(home.secrets_file) == 0o600


def test_a_secret_is_made_once_and_stays(home):
    first = SecretStore(home.secrets_file).get("sync_push")
    assert SecretStore(home.secrets_file).get("sync_push") == first


def test_two_secrets_differ(home):
    store = SecretStore(home.secrets_file)
    assert store.get("sync_push") != store.get("sync_merge")


def test_asking_at_the_same_time_gives_everybody_the_same_secret(home):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: SecretStore(home.secrets_file).get("one"), range(32)))
    assert len(set(answers)) == 1
