"""Roles, databases and migrations on a server of which only an admin's URL is known.

The admin needs CREATEROLE and CREATEDB, not superuser. Every step looks first and changes only what is
missing, so that a second bootstrap does nothing. No run-time session ever uses the admin's URL.
"""

from __future__ import annotations

import psycopg
from psycopg import conninfo, sql

from stack.logins import AIRFLOW_DATABASE, AIRFLOW_LOGIN, DATABASE, OWNER, WRITERS
from stack.migrations import migrate
from stack.postgres import refuse_old
from stack.secret_store import SecretStore

#: A killed scheduler's workers keep its connection open, and so the locks of what it was about to schedule: without a
#: bound, that run would stand still for ever.
AIRFLOW_IDLE_IN_TRANSACTION = "60s"
Admin = psycopg.Connection[tuple[object, ...]]
_PRIVILEGES = "NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION"


def bootstrap(admin_url: str, secrets: SecretStore, *, database: str = DATABASE) -> list[str]:
    """Make what is missing; returns one line for each thing that was made or changed.

    Raises ConfigError for a server older than PostgreSQL 17.
    """
    with psycopg.connect(admin_url, autocommit=True) as admin:
        refuse_old(admin.execute("SHOW server_version").fetchall()[0][0])
        done = make_roles(admin, secrets, database=database)
        done += make_database(admin, database, owner=OWNER, logins=WRITERS)
        done += make_database(admin, AIRFLOW_DATABASE, owner=AIRFLOW_LOGIN, logins=(AIRFLOW_LOGIN,))
    return done + [f"migration {name}" for name in migrate(at_database(admin_url, database))]


def at_database(url: str, database: str) -> str:
    """The same server and login, another database."""
    return conninfo.make_conninfo(url, dbname=database)


def make_roles(admin: Admin, secrets: SecretStore, *, database: str = DATABASE) -> list[str]:
    """The owner and the logins; each login's password is the one in ``secrets``."""
    done = []
    if not _exists(admin, "pg_roles", column="rolname", name=OWNER):
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN " + _PRIVILEGES).format(sql.Identifier(OWNER)))
        done.append(f"role {OWNER}")
    for login in (*WRITERS, AIRFLOW_LOGIN):
        at = AIRFLOW_DATABASE if login == AIRFLOW_LOGIN else database
        done += _make_login(admin, login, password=secrets.get(login), database=at)
    done += _bound_idle_transactions(admin, AIRFLOW_LOGIN)
    for role in (OWNER, AIRFLOW_LOGIN):
        done += _let_admin_become(admin, role)
    return done


def make_database(admin: Admin, name: str, *, owner: str, logins: tuple[str, ...]) -> list[str]:
    """A database that only ``logins`` may connect to (and its owner, and the admin as a member of the owner)."""
    if _exists(admin, "pg_database", column="datname", name=name):
        return []
    admin.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
            sql.Identifier(name), sql.Identifier(owner)
        )
    )
    open_to_logins(admin, name, owner=owner, logins=logins)
    return [f"database {name}"]


def open_to_logins(admin: Admin, name: str, *, owner: str, logins: tuple[str, ...]) -> None:
    """Let ``logins`` in and PUBLIC out; a database cloned from a template does not bring its grants along.

    Validation works on temporary tables.
    """
    session = admin.execute("SELECT session_user").fetchall()[0][0]
    people = sql.SQL(", ").join(map(sql.Identifier, (*logins, str(session))))
    database = sql.Identifier(name)
    with admin.transaction():
        admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
        admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        admin.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, people))


def _make_login(admin: Admin, login: str, *, password: str, database: str) -> list[str]:
    """Create the login, or set its password when the server does not take the one that we hold."""
    if not _exists(admin, "pg_roles", column="rolname", name=login):
        statement = "CREATE ROLE {} LOGIN " + _PRIVILEGES + " PASSWORD {}"
    elif _password_works(admin, login, password=password, database=database):
        return []
    else:
        statement = "ALTER ROLE {} PASSWORD {}"
    admin.execute(
        sql.SQL(statement).format(sql.Identifier(login), sql.Literal(_verifier(admin, login, password=password)))
    )
    return [f"login {login}"]


def _bound_idle_transactions(admin: Admin, login: str) -> list[str]:
    setting = f"idle_in_transaction_session_timeout={AIRFLOW_IDLE_IN_TRANSACTION}"
    row = admin.execute("SELECT rolconfig FROM pg_roles WHERE rolname = %s", [login]).fetchone()
    if row and setting in (row[0] or []):  # type: ignore[operator]  # the catalog's text[]
        return []
    statement = sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}")
    admin.execute(statement.format(sql.Identifier(login), sql.Literal(AIRFLOW_IDLE_IN_TRANSACTION)))
    return [f"bound of {login}'s idle transactions"]


def _verifier(admin: Admin, login: str, *, password: str) -> str:
    """The SCRAM verifier, computed here: the password itself is in no statement that a server could log."""
    verifier: bytes = admin.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    return verifier.decode()


def _password_works(admin: Admin, login: str, *, password: str, database: str) -> bool:
    facts = admin.info.get_parameters() | {"dbname": database, "user": login, "password": password}
    try:
        psycopg.connect(conninfo.make_conninfo(**facts), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _let_admin_become(admin: Admin, role: str) -> list[str]:
    """An admin without superuser needs SET ROLE, to own objects as ``role`` (PostgreSQL 16, createrole_self_grant)."""
    allowed = admin.execute("SELECT pg_has_role(session_user, %s, 'SET')", [role]).fetchall()[0][0]
    if allowed:
        return []
    admin.execute(sql.SQL("GRANT {} TO SESSION_USER WITH SET TRUE, INHERIT FALSE").format(sql.Identifier(role)))
    return [f"membership in {role}"]


def _exists(admin: Admin, catalog: str, *, column: str, name: str) -> bool:
    query = sql.SQL("SELECT FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
    return admin.execute(query, [name]).rowcount == 1
