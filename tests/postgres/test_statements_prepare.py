"""The database shape is proved: migrations apply to an empty database, every named statement can be planned on it."""

from __future__ import annotations

import re

import psycopg

from partner_sync.database import Connection
from partner_sync.statements import SQL_FOLDER, statements_of
from postgres_server import Database

_PARAMETER = re.compile(r"%\((\w+)\)s")
_TABLES = {
    "rows": "staging.patient",
    "columns": "raw",
    "canonical": "canonical.patient",
    "history": "canonical.patient_history",
    "accepted": "quality.accepted_patient",
}
#: The validation makes these for a session; its own tests run each of its statements.
_TEMPORARY = re.compile(r"\b(batch|known_office|writes_files|failing|aside|twin)\b|\{source\}")
_PLANNED = ("select", "insert", "update", "delete", "merge", "with", "values")


def test_every_named_statement_can_be_planned(database: Database) -> None:
    admin = database.admin()
    texts = {
        f"{path.stem}.{name}": text
        for path in SQL_FOLDER.glob("*.sql")
        for name, text in statements_of(path.stem).items()
    }
    assert len(texts) > 40
    assert [problem for name, text in texts.items() if (problem := problem_of(admin, name, text))] == []


def problem_of(admin: Connection, name: str, text: str) -> str | None:
    if _TEMPORARY.search(re.sub(r"--.*", "", text)):
        return None
    numbers: dict[str, str] = {}
    numbered = _PARAMETER.sub(lambda found: numbers.setdefault(found[1], f"${len(numbers) + 1}"), text)
    # Identifiers that psycopg.sql composes: the patient's tables stand for those of each entity.
    query = re.sub(r"\{(\w+)\}", lambda found: _TABLES[found[1]], numbered).replace("%%", "%").rstrip().rstrip(";")
    if not re.sub(r"--.*", "", query).strip().lower().startswith(_PLANNED):
        return None
    try:
        admin.execute(f"prepare planned as {query}")
        admin.execute("deallocate planned")
    except psycopg.Error as error:
        return f"{name}: {error}"
    return None
