"""The pages behind Airflow's own login, without the rest of Airflow: for tests and benchmarks of what they answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from airflow_for_tests import use_own_home

PEOPLE = ("admin", "op", "viewer")
PREFIX = "/quality"


def use_people() -> None:
    """Three logins of the simple auth manager; before anything imports airflow."""
    home = use_own_home()
    os.environ |= {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{name}" for name in PEOPLE),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, and long enough for the signature of a token",
        "AIRFLOW__API__SECRET_KEY": "another secret of the tests",
    }


def connection_of(url: str) -> str:
    """The Airflow connection sync_page, as the environment gives one."""
    parts = urlsplit(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "schema": parts.path.lstrip("/"),
            "login": parts.username,
            "password": parts.password,
        }
    )


def whole_app() -> Any:
    """Airflow's login and middlewares around the pages, as the API server mounts them."""
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.core_api.app import init_middlewares
    from airflow.models.revoked_token import RevokedToken
    from fastapi import FastAPI

    from airflow import settings
    from partner_sync_airflow.pages.app import make_app

    # All that a login reads of Airflow's own database; migrating the whole takes 8 s.
    RevokedToken.__table__.create(settings.engine, checkfirst=True)
    app = FastAPI()
    app.mount(PREFIX, make_app())
    init_auth_manager(app)
    init_middlewares(app)
    return app


def token_of(name: str) -> str:
    """What a person's browser holds after the login."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=name))


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The app over real HTTP on a free port; gives its address."""
    import threading

    import uvicorn

    from stack.ports import free_port
    from stack.waiting import wait_until

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, seconds=30, what="the pages")
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(30)


def cookies(name: str) -> Mapping[str, str]:
    return {"_token": token_of(name)}
