"""Where the partner files and the library's pages lie, as Airflow's processes see them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from partner_sync.errors import ConfigError, PartnerFileError
from partner_sync.partners.loader import load_partners
from partner_sync.partners.model import SLUG_PATTERN, Partner

FOLDER_VARIABLE = "PARTNER_SYNC_PARTNERS"
DATA_DOCS_VARIABLE = "PARTNER_SYNC_DATA_DOCS"
_COMMITTED = Path(__file__).resolve().parents[2] / "include" / "partners"


def partners_folder() -> Path:
    """The folder of the partner files: the committed one, or the one that PARTNER_SYNC_PARTNERS names."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else _COMMITTED


def data_docs_folder() -> Path | None:
    """Where Great Expectations' own pages are written, one folder a partner; None: they are not."""
    named = os.environ.get(DATA_DOCS_VARIABLE)
    return Path(named) if named else None


def cp932_partners() -> list[str]:
    """The partners that can hold CP932 only, by their files. A file that is broken says nothing: its own tasks tell."""
    found = load_partners(partners_folder()).partners.values()
    return sorted(partner.slug for partner in found if partner.characters == "cp932")


def partner_named(slug: str) -> Partner:
    """The partner as its file says now; raises PartnerFileError when it has been broken since the DAG was read, and
    ConfigError when there is none.
    """
    found = load_partners(partners_folder(), only=slug)
    if slug in found.broken:
        raise PartnerFileError(partner=slug, problems="\n".join(map(str, found.broken[slug])))
    if slug not in found.partners:
        # It may have been typed: what looks like no name of a file is not repeated (design, rule 15).
        named = f"{slug}.yaml" if re.fullmatch(SLUG_PATTERN, slug) else "of the name that was given"
        raise ConfigError(problem=f"There is no partner file {named}.")
    return found.partners[slug]


def anybody_shares_validation() -> bool:
    """Whether a partner file leaves its validation to the DAG validate_due."""
    partners = load_partners(partners_folder()).partners.values()
    return any(partner.master is not None and partner.master.validation == "shared" for partner in partners)
