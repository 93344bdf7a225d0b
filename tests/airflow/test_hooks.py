"""Hooks against a real PostgreSQL: the right login, only the extras that are allowed, no password in an error."""

from __future__ import annotations

import pytest

from partner_sync.database import connect
from partner_sync.errors import ConfigError, DatabaseAwayError
from partner_sync.links import Link
from partner_sync_airflow.hooks.database import SyncDatabaseHook
from partner_sync_airflow.hooks.lookup import ConnectionsUnreadableError
from partner_sync_airflow.hooks.partner import PartnerHook

LINK = Link(partner="honoka", organization="sakura", connection_id="honoka_sakura", directions=("master",))


def put_database(put_connection, database, writer="run", **changed):
    info = connect(database.url(writer)).info
    values = {"conn_type": "postgres", "host": info.host, "port": info.port, "schema": info.dbname}
    values |= {"login": info.user, "password": info.password}
    put_connection(f"sync_{writer}", **values | changed)


def test_a_database_hook_opens_the_sync_database_as_its_writer(database, put_connection):
    put_database(put_connection, database)
    with SyncDatabaseHook("run").get_conn() as conn:
        assert conn.execute("select session_user as me").fetchone() == {"me": "sync_run"}
        assert conn.autocommit


def test_a_writers_connection_that_cannot_be_read_is_tried_again():
    with pytest.raises(ConnectionsUnreadableError, match="sync_merge"):
        SyncDatabaseHook("merge").get_conn()


def test_when_airflow_hands_out_no_connection_a_link_is_not_blamed():
    with pytest.raises(ConnectionsUnreadableError, match="honoka_sakura"):
        PartnerHook(LINK).get_conn()


def test_a_wrong_password_is_an_error_that_names_no_password(database, put_connection):
    put_database(put_connection, database, password="not-the-secret")
    with pytest.raises(Exception) as caught:
        SyncDatabaseHook("run").get_conn()
    assert "not-the-secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_database_that_is_away_can_be_tried_again(put_connection):
    put_connection(
        "sync_run", conn_type="postgres", host="127.0.0.1", port=1, login="sync_run", password="x", schema="x"
    )
    with pytest.raises(DatabaseAwayError):
        SyncDatabaseHook("run").get_conn()


def test_a_password_with_special_characters_reaches_the_database_whole(put_connection):
    from psycopg.conninfo import conninfo_to_dict

    put_connection(
        "sync_run", conn_type="postgres", host="::1", login="sync_run", password="a/b@c:d%e", schema="sync db"
    )
    found = conninfo_to_dict(SyncDatabaseHook("run").url())
    assert (found["host"], found["password"], found["dbname"]) == ("::1", "a/b@c:d%e", "sync db")


def test_only_extras_about_the_way_to_the_server_are_passed_on(put_connection):
    from psycopg.conninfo import conninfo_to_dict

    extra = '{"sslmode": "require", "options": "-c role=postgres", "cursor": "x"}'
    put_connection("sync_run", conn_type="postgres", host="db", login="sync_run", password="x", schema="s", extra=extra)
    found = conninfo_to_dict(SyncDatabaseHook("run").url())
    assert found["sslmode"] == "require"
    assert not {"options", "cursor"} & set(found)


def test_a_partner_hook_gives_the_access_of_the_link(put_connection):
    put_connection(
        "honoka_sakura", conn_type="http", host="https://api.honoka.example/base/", login="s", password="key"
    )
    access = PartnerHook(LINK).get_conn()
    assert (access.base_url, access.login, access.secret) == ("https://api.honoka.example/base", "s", "key")
    assert "key" not in repr(access)


def test_a_connection_in_airflows_own_form_gives_the_same_address(put_connection):
    put_connection("honoka_sakura", conn_type="http", host="127.0.0.1", schema="http", port=8081, password="key")
    assert PartnerHook(LINK).get_conn().base_url == "http://127.0.0.1:8081"


@pytest.mark.parametrize("values", [None, {"conn_type": "http", "password": "key"}], ids=["no connection", "no host"])
def test_a_link_whose_connection_cannot_be_used_is_named(put_connection, values):
    put_connection("sync_run", conn_type="postgres", host="127.0.0.1")
    if values:
        put_connection("honoka_sakura", **values)
    with pytest.raises(ConfigError, match="honoka_sakura"):
        PartnerHook(LINK).get_conn()
