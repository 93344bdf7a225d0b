"""When the calls of a push can be through: by the limits, and by what has been granted and said already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from partner_sync.circuit import Stop, stops
from partner_sync.database import Connection, translated_errors
from partner_sync.limits import Limits, binding_of, limits_of, seconds_under
from partner_sync.partners.model import Partner
from partner_sync.statements import statement


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """``seconds`` until the last call of those that nobody holds may leave; which organizations are ``stopped`` now."""

    seconds: float = 0.0
    stopped: Mapping[str, Stop] = field(default_factory=dict)


def forecast(conn: Connection, partner: Partner, calls: Mapping[str, int]) -> Forecast:
    """The forecast for so many calls of each organization, side by side, when nobody else asks; as login sync_release.

    It writes nothing: the ledger is asked inside of transactions that are rolled back.
    """
    found = stops(conn, partner=partner.slug)
    stopped = {code: stop for code in calls if (stop := found.of(code)) is not None}
    going = {code: count for code, count in calls.items() if code not in stopped or stopped[code].state != "held"}
    limits = limits_of(partner)
    # Both are a least time: the first knows the rhythm of the limits better, the second what has happened already.
    at_rest = seconds_under(limits, going, start_at=datetime.now(UTC))
    return Forecast(seconds=max([at_rest, *_by_the_ledger(conn, partner.slug, limits, calls=going)]), stopped=stopped)


def _by_the_ledger(conn: Connection, partner: str, limits: Limits, *, calls: Mapping[str, int]) -> Iterator[float]:
    """Of each organization by itself, and of all together under what they share."""
    shared = replace(limits, limits=tuple(limit for limit in limits.limits if limit.scope == "vendor"))
    asked = [(limits, code, count) for code, count in calls.items()]
    asked += [(shared, code, sum(calls.values())) for code in list(calls)[:1]]
    for bound, code, count in asked:
        facts = {
            "partner": partner,
            "organization": code,
            "limits": binding_of(bound, code, None, None).text,
            "jitter_seconds": limits.jitter_seconds,
            "calls": count,
        }
        # One transaction each: the locks of all of them at once would hold up everybody's grants.
        with translated_errors(), conn.transaction(force_rollback=True):
            row = conn.execute(statement("release.seconds_until_gone"), facts).fetchone()
        yield (row and row["seconds"]) or 0.0
