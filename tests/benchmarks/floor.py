"""The floor: what a program of an afternoon does. No validation, no raw record, no history, no ids of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import requests

_TYPES = {
    "source_key": "text primary key",
    "office_key": "text",
    "family_name": "text",
    "given_name": "text",
    "family_kana": "text",
    "given_kana": "text",
    "birth_date": "date",
    "gender": "text",
    "postal_code": "text",
    "prefecture": "text",
    "city": "text",
    "street": "text",
    "phone": "text",
    "insurer_number": "text",
    "insured_number": "text",
    "care_level": "text",
    "valid_from": "date",
    "valid_to": "date",
    "active": "boolean",
    "blood_type": "text",
    "updated_at": "timestamptz",
}
_NAMES = ", ".join(_TYPES)
_DEFINITION = ", ".join(f"{name} {type_}" for name, type_ in _TYPES.items())
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _TYPES if name != "source_key")


def prepare(conn: psycopg.Connection[Any]) -> None:
    """The floor's own target table."""
    conn.execute("drop schema if exists floor cascade")
    conn.execute("create schema floor")
    conn.execute(f"create table floor.patient ({_DEFINITION})")


def run(conn: psycopg.Connection[Any], base_url: str, page_size: int) -> None:
    """Fetch, COPY into a temporary table, one INSERT ... ON CONFLICT."""
    with conn.transaction():
        conn.execute("create temporary table incoming (like floor.patient) on commit drop")
        with conn.cursor() as cursor, cursor.copy(f"copy incoming ({_NAMES}) from stdin") as copy:
            for record in _records(base_url, page_size):
                copy.write_row(_row(record))
        conn.execute(
            f"insert into floor.patient select distinct on (source_key) * from incoming order by source_key "
            f"on conflict (source_key) do update set {_CHANGES}"
        )


def _records(base_url: str, page_size: int) -> Iterator[dict[str, Any]]:
    page, last = 1, 1
    with requests.Session() as session:
        session.trust_env = False
        while page <= last:
            answer = session.get(f"{base_url}/v1/patients", params={"page": page, "limit": page_size}, timeout=30)
            answer.raise_for_status()
            body = orjson.loads(answer.content)
            yield from body["data"]
            page, last = page + 1, body["pagination"]["last_page"]


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    name, kana, address, care = record["name"], record["kana"], record["address"], record["care"]
    return (
        record["id"],
        record["office_id"],
        name["family"],
        name["given"],
        kana["family"],
        kana["given"],
        record["birth"],
        record["sex"],
        address["postal_code"].replace("-", ""),
        address["prefecture"],
        address["city"],
        address["street"],
        record["phone"],
        care["insurer_number"],
        care["insured_number"],
        care["level"],
        record["valid_from"],
        record["valid_to"],
        record["active"],
        record["blood_type"],
        record["updated_at"],
    )
