"""A desk (postgres.desk) that Airflow's tasks reach: a partner file in a folder, and Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from partner_made import document
from postgres.desk import Desk
from postgres.product import make_product
from postgres.visit_keeper import KEYED
from postgres_server import Database

WRITERS = ("extract", "release", "push", "run")


def put_file(folder: Path, *, requests: int = 5000) -> None:
    """The file of a partner that takes visits under our ids, reads them back and lists a week."""
    limits = [{"scope": "organization", "requests": requests, "per_seconds": 600}]
    text = yaml.safe_dump(document(push=KEYED, limits=limits), sort_keys=False, allow_unicode=True)
    (folder / "honoka.yaml").write_text(text, encoding="utf-8")


@contextmanager
def desk_in_airflow(database: Database, put_connection: Callable[..., None], folder: Path) -> Iterator[Desk]:
    """Three visits of a released week came to the partner an hour ago. PARTNER_SYNC_PARTNERS has to name the folder."""
    put_file(folder)
    desk = Desk(make_product(database), "keyed")
    for writer in WRITERS:
        put_connection(f"sync_{writer}", conn_type="postgres", **_place(database, writer))
    put_connection("partner_honoka__sakura", conn_type="http", host=desk.server.base_url, password="k")
    with desk.server:
        desk.product.closed_week("v1", "v2", "v3")
        desk.release()
        desk.push()
        admin = database.admin()
        admin.execute("alter table sync.push_result disable trigger user")
        admin.execute("update sync.push_result set at = at - interval '1 hour'")
        admin.execute("alter table sync.push_result enable trigger user")
        yield desk


def _place(database: Database, writer: str) -> dict[str, Any]:
    info = database.connect(writer).info
    return {
        "host": info.host,
        "port": info.port,
        "schema": info.dbname,
        "login": info.user,
        "password": info.password,
    }
