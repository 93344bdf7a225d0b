"""The plan of a push: rows, calls, seconds under the limits, and what is blocked; computed without sending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from partner_sync.catalogue import Language
from partner_sync.circuit import Stop
from partner_sync.database import Connection, translated_errors
from partner_sync.delivery.claims import visit_call
from partner_sync.delivery.forecast import forecast
from partner_sync.delivery.push import needed_keys
from partner_sync.kinds.interface import PartnerKind, VisitCall
from partner_sync.masking import masked
from partner_sync.partners.model import Partner
from partner_sync.statements import statement
from partner_sync.weeks import TOKYO, Week
from partner_sync.words import reason_name

SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class OrganizationPlan:
    """What a push of a week comes to for one organization: ``visits`` would be sent, in ``calls`` calls.

    A visit that has to be taken back elsewhere is a call of its own; a batch is one call. ``blocked``: how many visits
    cannot leave, by reason; a few of them by our own visit ids, beside a few of those that can.
    """

    organization: str
    visits: int
    calls: int
    blocked: Mapping[str, int]
    sample_visit_ids: tuple[str, ...]
    blocked_visit_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a push of a week comes to. ``seconds`` is the least time that the limits, and what was granted and said
    before, allow for its calls, without those of organizations that a person holds. ``stopped``: what stops
    organizations now.
    """

    week: Week
    organizations: tuple[OrganizationPlan, ...]
    seconds: float
    stopped: Mapping[str, Stop] = field(default_factory=dict)

    @property
    def visits(self) -> int:
        return sum(one.visits for one in self.organizations)

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.organizations)

    @property
    def blocked(self) -> Mapping[str, int]:
        """How many visits cannot leave, by reason."""
        return sum((Counter(one.blocked) for one in self.organizations), Counter())

    def lines(self, language: Language, *, now: datetime) -> list[str]:
        """'1,240 visits, 620 calls, about 11 minutes under the limits, done by 18:21', and what is blocked, and why."""
        done_by, minutes = clock_time(now + timedelta(seconds=self.seconds), now=now), -(-self.seconds // 60)
        held = any(stop.state == "held" for stop in self.stopped.values())
        if language == "ja":
            told = f"計画: 予定 {self.visits:,}件、呼び出し {self.calls:,}回、上限内で約{minutes:,.0f}分、"
            told += f"{done_by}ごろ完了見込み{'(担当者が停止中の分を除く)' if held else ''}"
        else:
            told = f"plan: {self.visits:,} visits, {self.calls:,} calls, about {minutes:,.0f} minutes under the limits"
            told += f", done by {done_by} (Asia/Tokyo{', without what a person holds' if held else ''})"
        return [told, *self._stopped_lines(language, now=now), *self._blocked_lines(language)]

    def _stopped_lines(self, language: Language, *, now: datetime) -> Iterator[str]:
        """'stopped now: calls stopped after repeated failures, tried again from 18:21 on (sakura): 1,240 visits'."""
        visits = {one.organization: one.visits for one in self.organizations}
        codes: dict[str, list[str]] = {}
        for code, stop in self.stopped.items():
            codes.setdefault(_stop_words(stop, language, now=now), []).append(code)
        for words, stopped in codes.items():
            some = ", ".join(stopped[:SAMPLES]) + (", ..." if len(stopped) > SAMPLES else "")
            count = sum(visits.get(code, 0) for code in stopped)
            ja, en = f"停止中: {words} ({some}): 予定 {count:,}件", f"stopped now: {words} ({some}): {count:,} visits"
            yield ja if language == "ja" else en

    def _blocked_lines(self, language: Language) -> list[str]:
        if not self.blocked:
            return []
        reasons = ", ".join(f"{reason_name(reason, language)} {count:,}" for reason, count in self.blocked.items())
        some = [visit for one in self.organizations for visit in one.blocked_visit_ids][:SAMPLES]
        heads: dict[Language, str] = {"ja": "送れない予定", "en": "blocked"}
        return [f"{heads[language]}: {reasons} ({', '.join(some)}{', ...' if self._more_blocked(some) else ''})"]

    def _more_blocked(self, shown: Sequence[str]) -> bool:
        return sum(self.blocked.values()) > len(shown)


def _stop_words(stop: Stop, language: Language, *, now: datetime) -> str:
    words = reason_name(stop.refusal().code, language)
    if stop.until_at is None:
        return f"{words}、再開されるまで" if language == "ja" else f"{words}, until it is resumed"
    again_at = clock_time(stop.until_at, now=now)
    return f"{words}、{again_at}以降に再試行" if language == "ja" else f"{words}, tried again from {again_at} on"


def clock_time(moment: datetime, *, now: datetime) -> str:
    """'18:21' in Asia/Tokyo, with its day when that is not today."""
    at, today = moment.astimezone(TOKYO), now.astimezone(TOKYO).date()
    return f"{at:%H:%M}" if at.date() == today else f"{at:%Y-%m-%d %H:%M}"


def plan_push(
    conn: Connection, *, partner: Partner, organizations: Sequence[str], week: Week, resend: bool = False
) -> Plan:
    """The plan for the finalized offices of these organizations, as login sync_release; writes nothing."""
    plans = [plan_organization(conn, partner, code, week=week, resend=resend) for code in organizations]
    return plan_of(conn, partner, week=week, plans=plans)


def plan_of(conn: Connection, partner: Partner, *, week: Week, plans: Sequence[OrganizationPlan]) -> Plan:
    """The plan of several organizations side by side, with what stops them and the seconds that their calls take."""
    told = forecast(conn, partner, {plan.organization: plan.calls for plan in plans})
    return Plan(week=week, organizations=tuple(plans), seconds=told.seconds, stopped=told.stopped)


def plan_organization(
    conn: Connection,
    partner: Partner,
    organization: str,
    *,
    week: Week,
    resend: bool = False,
    only: Sequence[str] | None = None,
) -> OrganizationPlan:
    """The plan of one organization, as login sync_release; ``only``: of these visits, which are all sent anew."""
    facts = {
        "partner": partner.slug,
        "organization": organization,
        "week": week.monday,
        "resend": resend,
        "needs": list(needed_keys(partner)),
        "only": None if only is None else list(only),
    }
    with translated_errors():
        rows = conn.execute(statement("release.planned_calls"), facts).fetchall()
    leaving = [row for row in rows if row["reason"] is None]
    blocked = [row for row in rows if row["reason"] is not None]
    return OrganizationPlan(
        organization=organization,
        visits=len({row["visit_id"] for row in leaving}),
        calls=_calls(partner, leaving),
        blocked=Counter(row["reason"] for row in blocked),
        sample_visit_ids=tuple(row["visit_id"] for row in leaving if row["action"] == "put")[:SAMPLES],
        blocked_visit_ids=tuple(row["visit_id"] for row in blocked[:SAMPLES]),
    )


def _calls(partner: Partner, rows: Sequence[Mapping[str, Any]]) -> int:
    """How many calls these items take: a batch is one, of one office where limits count by office."""
    if partner.push is None:
        return 0
    by_office = any(limit.scope == "office" for limit in partner.limits)
    alike = Counter((row["action"], row["named"], row["office_id"] if by_office else None) for row in rows)
    calls = 0
    for (action, named, _), count in alike.items():
        batch = partner.push.batch_of(action, named=named)
        calls += -(-count // (batch.size if batch else 1))
    return calls


def sample_calls(conn: Connection, *, partner: str, visits: Sequence[str]) -> tuple[VisitCall, ...]:
    """The calls that would be made for these visits, as they stand now."""
    facts = {"partner": partner, "visits": list(visits)}
    with translated_errors():
        return tuple(visit_call(row) for row in conn.execute(statement("release.sample_calls"), facts))


def masked_bodies(kind: PartnerKind, calls: Sequence[VisitCall]) -> list[Mapping[str, object]]:
    """What the request bodies look like: field names, types and lengths; never a value (design, rule 15)."""
    return [{name: masked(value) for name, value in kind.request_body(call).items()} for call in calls]
