"""Which of our organizations is joined to which partner, and how organizations that people type are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import NotLinkedError, UnknownOrganizationError
from partner_sync.statements import statement

Direction = Literal["master", "schedule"]
ReleaseMode = Literal["manual", "weekly", "on_finalize"]


@dataclass(frozen=True, kw_only=True)
class Link:
    """One organization at one partner; ``master_of`` names the entities whose master the partner is."""

    partner: str
    organization: str
    connection_id: str
    directions: tuple[Direction, ...]
    master_of: tuple[str, ...] = ()
    release_mode: ReleaseMode = "manual"
    enabled: bool = True


def linked_organizations(
    conn: Connection, *, partner: str, direction: Direction, codes: Sequence[str] = ()
) -> tuple[Link, ...]:
    """The enabled links of a partner for one direction: all, or those of the typed codes.

    Raises UnknownOrganizationError (naming near matches) and NotLinkedError, for the first code at fault, and
    DatabaseAwayError.
    """
    with translated_errors():
        rows = conn.execute(statement("links.enabled_links"), {"partner": partner, "direction": direction}).fetchall()
    links = {row["organization"]: _link(row) for row in rows}
    wanted = tuple(dict.fromkeys(code.strip() for code in codes if code.strip()))
    for code in wanted:
        if code not in links:
            _refuse(conn, partner=partner, direction=direction, code=code)
    return tuple(links[code] for code in wanted) if wanted else tuple(links.values())


def _refuse(conn: Connection, *, partner: str, direction: Direction, code: str) -> None:
    with translated_errors():
        known = [row["code"] for row in conn.execute(statement("links.organization_codes"))]
    if code in known:
        raise NotLinkedError(organization=code, partner=partner, direction=direction)
    raise UnknownOrganizationError(organization=code, suggestions=near_matches(code, known))


def near_matches(code: str, known: Sequence[str]) -> str:
    """A sentence that names the known codes most like ``code``."""
    near = get_close_matches(code.lower(), known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "No known code is like it."


def _link(row: dict[str, Any]) -> Link:
    return Link(**row | {"directions": tuple(row["directions"]), "master_of": tuple(row["master_of"])})
