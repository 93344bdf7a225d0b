"""What is new of a partner's data quality, told once: findings that opened and that are over, the worst first.

Counts, codes and the expectations' own sentences only; never a key or a value (design, rule 15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from partner_sync.catalogue import Language, Text
from partner_sync.database import Connection, translated_errors
from partner_sync.incidents import organizations_line, owner_name
from partner_sync.quality.suites import Owner, Severity
from partner_sync.statements import statement
from partner_sync.words import count_name, severity_name

_SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
#: An alert is read on a telephone; the page has the rest.
_SHOWN = 10

_PARTNER = Text(ja="連携先", en="Partner")
_OPENED = Text(ja="データ品質の新しい指摘", en="New findings of data quality")
_OVER = Text(ja="解消した指摘", en="Findings that are over")
_MORE = Text(ja="ほか {count} 件", en="and {count} more")
_FAILED = Text(ja="{evaluated}件中{failed}件が不合格", en="{failed} of {evaluated} failed")
_TURN = Text(ja="担当", en="turn")


@dataclass(frozen=True, kw_only=True)
class News:
    """A finding that opened, or is over. ``evaluated`` and ``failed`` are what the last run that met it counted."""

    over: bool
    organization: str
    entity: str
    expectation: str
    severity: Severity
    owner: Owner
    evaluated: int
    failed: int
    ja: str
    en: str


@dataclass(frozen=True, kw_only=True)
class Digest:
    """The news of one partner."""

    partner: str
    news: tuple[News, ...]

    @property
    def opened(self) -> list[News]:
        return [each for each in self.news if not each.over]

    @property
    def over(self) -> list[News]:
        return [each for each in self.news if each.over]

    @property
    def organizations(self) -> tuple[str, ...]:
        return tuple(sorted({each.organization for each in self.news}))

    @property
    def worst(self) -> Severity:
        """The severity of what opened; info when something is only over."""
        found = {each.severity for each in self.opened}
        return next((severity for severity in _SEVERITIES if severity in found), "info")


def claim_digest(conn: Connection, *, partner: str) -> Digest:
    """What nobody was told of yet, as ``sync_run``; it counts as told from now on. Empty when there is no news.

    Raises DatabaseAwayError, DatabaseRefusedError.
    """
    with translated_errors():
        rows = conn.execute(statement("findings.claim"), {"partner": partner}).fetchall()
    return Digest(partner=partner, news=tuple(News(**row) for row in rows))


def digest_text(digest: Digest, language: Language, *, partner_name: str | None = None) -> str:
    """The news for people: how many of each severity, then a line for each expectation with its organizations."""
    name = partner_name or digest.partner
    lines = [f"{_PARTNER.fill(language)}: {name}" + (f" ({digest.partner})" if partner_name else "")]
    for head, news in ((_OPENED, digest.opened), (_OVER, digest.over)):
        if news:
            lines += [f"{head.fill(language)}: {_counts(news, language)}", *_lines(news, language, partner=name)]
    return "\n".join(lines)


def _counts(news: Sequence[News], language: Language) -> str:
    numbers = {severity: sum(each.severity == severity for each in news) for severity in _SEVERITIES}
    return ", ".join(f"{severity_name(name, language)} {number}" for name, number in numbers.items() if number)


def _lines(news: Iterable[News], language: Language, *, partner: str) -> list[str]:
    groups: dict[tuple[str, str], list[News]] = {}
    for each in sorted(news, key=lambda each: (_SEVERITIES.index(each.severity), each.entity, each.expectation)):
        groups.setdefault((each.entity, each.expectation), []).append(each)
    shown = [_line(group, language, partner=partner) for group in list(groups.values())[:_SHOWN]]
    more = len(groups) - len(shown)
    return shown if more <= 0 else [*shown, f"- {_MORE.fill(language, count=str(more))}"]


def _line(group: Sequence[News], language: Language, *, partner: str) -> str:
    first = group[0]
    where = organizations_line(sorted({each.organization for each in group}), language)
    sentence = first.ja if language == "ja" else first.en
    words = [f"- [{severity_name(first.severity, language)}] {count_name(first.entity, language)}: {sentence}", where]
    if not first.over:
        numbers = {name: f"{sum(getattr(each, name) for each in group):,}" for name in ("evaluated", "failed")}
        words += [
            _FAILED.fill(language, **numbers),
            f"{_TURN.fill(language)}: {owner_name(first.owner, language, partner=partner)}",
        ]
    return " / ".join(words)
