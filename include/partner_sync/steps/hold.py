"""Hold and resume: an operator lets no call to a partner, or for one of its organizations, leave; or lets them go."""

from __future__ import annotations

from dataclasses import dataclass

from partner_sync.circuit import set_hold
from partner_sync.database import Connection, translated_errors
from partner_sync.errors import FormError, NotLinkedError, UnknownPartnerError
from partner_sync.links import looks_like_a_code, near_matches, unknown_organization
from partner_sync.statements import statement


@dataclass(frozen=True, kw_only=True)
class HoldOrder:
    """What a person orders; ``organization`` '' is the whole partner. ``reason`` is read by others of the team, so it
    holds nothing about a patient.
    """

    partner: str
    organization: str
    held: bool
    reason: str
    by: str

    @property
    def named(self) -> str:
        return " / ".join(filter(None, [self.partner, self.organization]))


def hold_or_resume(conn: Connection, order: HoldOrder) -> bool:
    """Carry out the order, as login sync_run; returns whether anything changed by it.

    Calls that were granted already still leave, for ``grant_ttl_seconds`` at most. Raises UnknownPartnerError,
    UnknownOrganizationError and NotLinkedError for what was mistyped, FormError without a reason.
    """
    if not order.reason.strip():
        raise FormError(
            ja="理由を入力してください。チームの他の人が読みます。",
            en="Say why: the reason is what the others of the team will read.",
        )
    _find(conn, order)
    return set_hold(conn, **vars(order) | {"reason": order.reason.strip()})


def _find(conn: Connection, order: HoldOrder) -> None:
    with translated_errors():
        links = conn.execute(statement("circuit.links")).fetchall()
    partners = sorted({row["partner"] for row in links})
    if order.partner not in partners:
        named = order.partner if looks_like_a_code(order.partner) else "of the name that was typed"
        raise UnknownPartnerError(partner=named, suggestions=near_matches(order.partner, partners))
    organizations = sorted({row["organization"] for row in links})
    if order.organization and order.organization not in organizations:
        raise unknown_organization([order.organization], organizations)
    if order.organization and {"partner": order.partner, "organization": order.organization} not in links:
        raise NotLinkedError(organization=order.organization, partner=order.partner, direction="any direction")
