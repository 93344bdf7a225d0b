"""The settings that the servers get, and those that they must not."""

from __future__ import annotations

import json
import stat

import pytest

from stack.address import Address
from stack.secret_store import SecretStore
from stack.settings import (
    ROLES,
    ApiPlace,
    airflow_environment,
    launching,
    read_environment,
    write_environment,
    write_logins,
)


@pytest.fixture
def environment(home):
    store = SecretStore(home.secrets_file)
    return airflow_environment(home, secret_store=store, address=Address(), api=ApiPlace("http://127.0.0.1:1"))


def test_the_same_home_gives_the_same_settings_again(home, environment):
    store = SecretStore(home.secrets_file)
    again = airflow_environment(home, secret_store=store, address=Address(), api=ApiPlace("http://127.0.0.1:1"))
    assert again == environment


@pytest.mark.parametrize("name", ["AIRFLOW__CORE__EXECUTOR", "PGPASSWORD", "PARTNER_SYNC_ADMIN_URL", "PYTHONPATH"])
def test_a_persons_own_settings_do_not_reach_the_servers(home, environment, name):
    write_environment(home, environment)
    assert read_environment(home, {name: "of somebody else"}).get(name) != "of somebody else"


def test_the_admins_url_is_not_handed_on_to_the_supervisor(home):
    assert "PARTNER_SYNC_ADMIN_URL" not in launching(home, {"PARTNER_SYNC_ADMIN_URL": "postgresql://boss@db/postgres"})


def test_settings_and_logins_are_files_that_only_their_owner_reads(home, environment):
    write_environment(home, environment)
    write_logins(home, SecretStore(home.secrets_file))
    for path in (home.environment_file, home.logins_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_login_has_a_role_and_a_password_of_its_own(home, environment):
    write_logins(home, SecretStore(home.secrets_file))
    passwords = json.loads(home.logins_file.read_text())
    assert set(passwords) == set(ROLES)
    assert len(set(passwords.values())) == len(ROLES)
    users = environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    assert users == "admin:admin,op:op,viewer:viewer,partner-sync:op"


def test_nothing_is_reported_to_the_makers_of_airflow_and_great_expectations(environment):
    assert environment["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert environment["GX_ANALYTICS_ENABLED"] == "False"


def test_the_librarys_pages_lie_in_the_home(home, environment):
    assert environment["PARTNER_SYNC_DATA_DOCS"] == str(home.path / "data-docs")
