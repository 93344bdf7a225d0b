"""Joining organizations to partners: the only writer of sync.organization, sync.link and canonical.key_map."""

from __future__ import annotations

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import ConfigError, SecondMasterError
from partner_sync.links import Link
from partner_sync.statements import statement


def add_organization(conn: Connection, *, code: str, name: str) -> None:
    """Make an organization known, or rename it; its code never changes."""
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
    """A person says what the partner calls one of our rows (design, rule 14)."""
    with translated_errors():
        conn.execute(
            statement("links.put_key"),
            {
                "partner": link.partner,
                "organization": link.organization,
                "entity": entity,
                "canonical_id": canonical_id,
                "source_key": source_key,
                "joined_by": joined_by,
            },
        )
