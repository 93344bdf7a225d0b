"""Roles and databases made on a bare server, as root and not, and servers that are too old."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from partner_sync.errors import ConfigError
from postgres_server import TEMPLATE
from stack.bootstrap import at_database, bootstrap
from stack.home import CLONE
from stack.logins import AIRFLOW_LOGIN, DATABASE, OWNER, WRITERS
from stack.ports import free_port
from stack.postgres import Account, Cluster, refuse_old, stop
from stack.secret_store import SecretStore
from stack.waiting import wait_until


@pytest.fixture
def bare_cluster():
    """A server on which nothing has been made yet."""
    with tempfile.TemporaryDirectory(prefix="partner-sync-bare-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = Cluster(folder / "postgres", free_port(), "0" * 24, Account.usable())
        process = cluster.start(cluster.prepare("fsync = off", sync=False), folder / "log")
        yield cluster
        stop(process)


@pytest.fixture
def modest_admin_url(bare_cluster):
    """The URL of an admin who may make roles and databases and is no superuser."""
    with psycopg.connect(bare_cluster.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE modest LOGIN CREATEROLE CREATEDB PASSWORD 'of-this-test-only'")
    return make_conninfo(bare_cluster.url(), user="modest", password="of-this-test-only")


def test_a_second_bootstrap_changes_nothing(postgres):
    assert bootstrap(postgres.admin_url(), postgres.secrets, database=TEMPLATE) == []


def test_airflow_holds_no_locks_for_longer_than_a_minute_without_working(postgres):
    url = make_conninfo(
        postgres.admin_url(), dbname="postgres", user=AIRFLOW_LOGIN, password=postgres.secrets.get(AIRFLOW_LOGIN)
    )
    with psycopg.connect(url) as session:
        assert session.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)


def test_an_admin_without_superuser_can_bootstrap_twice(modest_admin_url, home):
    secrets = SecretStore(home.secrets_file)
    assert f"database {DATABASE}" in bootstrap(modest_admin_url, secrets)
    assert bootstrap(modest_admin_url, secrets) == []


def test_a_login_whose_secret_was_lost_gets_the_new_one(bare_cluster, home, tmp_path):
    bootstrap(bare_cluster.url(), SecretStore(home.secrets_file))
    renewed = SecretStore(tmp_path / "renewed.json")
    assert bootstrap(bare_cluster.url(), renewed) == [f"login {login}" for login in (*WRITERS, AIRFLOW_LOGIN)]
    assert bootstrap(bare_cluster.url(), renewed) == []


@pytest.mark.parametrize("login", [*WRITERS, AIRFLOW_LOGIN])
def test_no_run_time_login_has_a_special_right(database, login):
    row = (
        database.admin()
        .execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS special, "
            "pg_has_role(rolname, %s, 'MEMBER') AS owner FROM pg_roles WHERE rolname = %s",
            [OWNER, login],
        )
        .fetchone()
    )
    assert row == {"special": False, "owner": False}


def test_everything_belongs_to_an_owner_who_cannot_log_in(database):
    owners = database.admin().execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) AS owner, rolcanlogin FROM pg_class "
        "JOIN pg_roles ON pg_roles.oid = relowner JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    assert owners.fetchall() == [{"owner": OWNER, "rolcanlogin": False}]


def test_each_writer_connects_under_its_own_name(database):
    names = [database.connect(w).execute("SELECT current_user AS name").fetchone()["name"] for w in WRITERS]
    assert names == list(WRITERS)


def test_airflows_login_is_not_let_into_the_sync_database(postgres, database):
    secret = postgres.secrets.get(AIRFLOW_LOGIN)
    url = make_conninfo(at_database(postgres.admin_url(), database.name), user=AIRFLOW_LOGIN, password=secret)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(url)


@pytest.mark.parametrize("text", ["postgres (PostgreSQL) 16.14", "15.18 (Debian 15.18-0+deb12u1)", "9.6", "?"])
def test_a_server_older_than_17_is_refused_in_one_sentence(text):
    with pytest.raises(ConfigError, match=r"^PostgreSQL 17 or newer is needed; this is [^\n]*\.$"):
        refuse_old(text)


@pytest.mark.parametrize("text", ["postgres (PostgreSQL) 18.6", "17.0", "19beta1"])
def test_17_and_newer_servers_are_taken(text):
    refuse_old(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for the database")
def test_as_root_the_server_runs_as_nobody_and_leaves_no_password_file(bare_cluster):
    pid = int((bare_cluster.data / "postmaster.pid").read_text().split("\n")[0])
    assert Path(f"/proc/{pid}").stat().st_uid == Account.usable().owner[0] != 0
    assert not list(bare_cluster.folder.glob("*password*"))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
def test_a_server_of_a_killed_test_session_ends_with_it(tmp_path, bare_cluster):
    program = (
        "import sys, pathlib; from stack.postgres import Cluster; from stack.ports import free_port\n"
        "folder = pathlib.Path(sys.argv[1]); cluster = Cluster(folder / 'second', free_port(), 'x' * 24)\n"
        "print(cluster.start(cluster.prepare(sync=False), folder / 'log').pid, flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(bare_cluster.folder.parent)]
    environment = os.environ | {"PYTHONPATH": str(CLONE / "include")}
    session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    server = int(session.stdout.readline())
    session.kill()
    session.communicate()
    wait_until(lambda: not psutil.pid_exists(server), seconds=15, what="the end of the server")
