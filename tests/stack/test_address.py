"""One address, and the URLs that libpq, SQLAlchemy and asyncpg want of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from stack.address import Address

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def test_the_admins_login_and_password_are_not_part_of_the_address():
    address = Address.of("postgresql://boss:s3cret@db.example:6543/postgres?sslmode=require")
    assert address == Address(host="db.example", port=6543, options={"sslmode": "require"})
    assert "s3cret" not in repr(address)


@given(PASSWORDS)
def test_any_password_survives_libpqs_url(password):
    facts = conninfo_to_dict(Address(port=5433).url("sync_push", password, database="partner_sync"))
    assert facts == {
        "host": "127.0.0.1", "port": "5433", "user": "sync_push", "password": password, "dbname": "partner_sync",
    }  # fmt: skip


@given(PASSWORDS)
def test_any_password_survives_airflows_urls(password):
    for text in Address().airflow_urls("airflow", password, database="airflow"):
        assert make_url(text).password == password


def test_a_socket_folder_is_kept():
    facts = conninfo_to_dict(Address(host="/run/postgresql", port=5432).url("sync_run", "x", database="partner_sync"))
    assert facts["host"] == "/run/postgresql"


def test_asyncpg_is_told_of_tls_by_its_own_word():
    _, asynchronous = Address(options={"sslmode": "require"}).airflow_urls("airflow", "x", database="airflow")
    assert make_url(asynchronous).query == {"ssl": "require"}
