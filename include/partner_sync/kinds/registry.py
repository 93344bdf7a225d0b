"""The kinds of partners by the name that a partner file gives."""

from __future__ import annotations

from collections.abc import Callable

from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.rest_json import RestJsonKind
from partner_sync.partners.model import Partner

_KINDS: dict[str, Callable[[Partner, Access, Gate], PartnerKind]] = {"rest_json": RestJsonKind}


def open_kind(partner: Partner, access: Access, gate: Gate) -> PartnerKind:
    """The partner as one organization sees it; close it. Raises ConnectionUnusableError for a broken connection."""
    return _KINDS[partner.kind](partner, access, gate)
