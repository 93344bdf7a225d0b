"""Which of our organizations is joined to which partner, and how organizations that people type are found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from partner_sync.database import Connection, translated_errors
from partner_sync.errors import NotLinkedError, UnknownOrganizationError
from partner_sync.statements import statement

Direction = Literal["master", "schedule"]
ReleaseMode = Literal["manual", "weekly", "on_finalize"]

#: What a code of ours looks like (sync.code in the database). Anything else that was typed may be a patient's name, and
#: is repeated nowhere (design, rule 15).
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


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

    Raises UnknownOrganizationError (naming near matches) or else NotLinkedError, for the first code at fault, and
    DatabaseAwayError.
    """
    with translated_errors():
        rows = conn.execute(statement("links.enabled_links"), {"partner": partner, "direction": direction}).fetchall()
    links = {row["organization"]: _link(row) for row in rows}
    wanted = tuple(dict.fromkeys(code.strip() for code in codes if code.strip()))
    if unlinked := [code for code in wanted if code not in links]:
        _refuse(conn, unlinked, partner=partner, direction=direction)
    return tuple(links[code] for code in wanted) if wanted else tuple(links.values())


def link_of(conn: Connection, *, partner: str, organization: str) -> Link | None:
    """A link as it is now, also a disabled one; None when there is none."""
    with translated_errors():
        facts = {"partner": partner, "organization": organization}
        row = conn.execute(statement("links.link"), facts).fetchone()
    return _link(row) if row else None


def _refuse(conn: Connection, codes: Sequence[str], *, partner: str, direction: Direction) -> None:
    with translated_errors():
        known = [row["code"] for row in conn.execute(statement("links.organization_codes"))]
    if unknown := [code for code in codes if code not in known]:
        raise unknown_organization(unknown, known)
    raise NotLinkedError(organization=codes[0], partner=partner, direction=direction)


def looks_like_a_code(typed: str) -> bool:
    """Whether it may be repeated in a note or a message."""
    return _CODE.fullmatch(typed) is not None


def unknown_organization(typed: Sequence[str], known: Sequence[str]) -> UnknownOrganizationError:
    """The error for lines of which none is a known code: it repeats the first that looks like one, or says how many."""
    shown = next(filter(looks_like_a_code, typed), None)
    near = near_matches(shown or typed[0], known)
    lines = "1 line" if len(typed) == 1 else f"{len(typed)} lines"
    return UnknownOrganizationError(organization=shown or f"that was typed ({lines})", suggestions=near)


def near_matches(code: str, known: Sequence[str]) -> str:
    """A sentence that names the known codes most like ``code``."""
    near = get_close_matches(code.lower(), known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "No known code is like it."


def _link(row: dict[str, Any]) -> Link:
    return Link(**row | {"directions": tuple(row["directions"]), "master_of": tuple(row["master_of"])})
