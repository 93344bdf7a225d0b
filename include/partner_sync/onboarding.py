"""Joining organizations to partners: the only writer of sync.organization, sync.link and canonical.key_map."""

from __future__ import annotations

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import ConfigError, SecondMasterError
from partner_sync.links import Link, looks_like_a_code
from partner_sync.statements import statement


def refuse_bad_code(code: str) -> None:
    """Raise ConfigError for what cannot be an organization's code (the domain sync.code)."""
    if not looks_like_a_code(code):
        raise ConfigError(
            problem="This is no organization's code: a code has small letters a-z, digits, _ and -, begins with a "
            "letter or a digit, and has at most 63 characters."
        )


def add_organization(conn: Connection, *, code: str, name: str | None) -> None:
    """Make an organization known, or rename it; without a name it keeps its own. Its code never changes.

    Raises ConfigError for a code that is none.
    """
    refuse_bad_code(code)
    with translated_errors():
        conn.execute(statement("links.put_organization"), {"code": code, "name": name})


def add_link(conn: Connection, link: Link) -> None:
    """Add or replace a link and make the partner's staging partitions.

    Raises SecondMasterError when another partner is already the master of one of its entities.
    """
    if link.master_of and "master" not in link.directions:
        problem = (
            f"{link.partner} cannot be the master of {', '.join(link.master_of)}: the link does not read master data."
        )
        raise ConfigError(problem=problem)
    with translated_errors(), conn.transaction():
        conn.execute(statement("links.put_link"), vars(link) | {"directions": list(link.directions)})
        conn.execute(statement("links.drop_masters"), vars(link) | {"master_of": list(link.master_of)})
        for entity in link.master_of:
            _make_master(conn, link, entity=entity)
        conn.execute(statement("links.ensure_partition"), {"partner": link.partner})


def _make_master(conn: Connection, link: Link, *, entity: str) -> None:
    facts = {"partner": link.partner, "organization": link.organization, "entity": entity}
    row = conn.execute(statement("links.put_master"), facts).fetchone()
    if row is None or row["partner"] != link.partner:
        raise SecondMasterError(**facts, master=row["partner"] if row else "another partner")


def join_key(conn: Connection, *, link: Link, entity: str, canonical_id: int, source_key: str, joined_by: str) -> None:
    """A person says what the partner calls one of our rows (design, rule 14).

    Raises ConfigError, before anything is written, when the organization has no such row, or the key is another row's.
    """
    facts: dict[str, object] = {
        "partner": link.partner,
        "organization": link.organization,
        "entity": entity,
        "canonical_id": canonical_id,
        "source_key": source_key,
    }
    with translated_errors(), conn.transaction():
        if not _found(conn, "links.has_row", facts):
            problem = f"{link.organization} has no {entity} with the id {canonical_id}; nothing was joined."
            raise ConfigError(problem=problem)
        if _found(conn, "links.key_is_taken", facts):
            raise ConfigError(
                problem=f"This key of {link.partner} is joined to another {entity} of {link.organization} already; "
                "nothing was joined."
            )
        conn.execute(statement("links.put_key"), facts | {"joined_by": joined_by})


def _found(conn: Connection, name: str, facts: dict[str, object]) -> bool:
    row = conn.execute(statement(name), facts).fetchone()
    return row is not None and bool(row["found"])
