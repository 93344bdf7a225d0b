"""The committed suites: what is expected of each entity, in Great Expectations' own format.

Read here without the library, whose import takes seconds: a run without records never needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from partner_sync.errors import ConfigError

SUITES = Path(__file__).resolve().parents[3] / "great_expectations" / "suites"

Dimension = Literal["completeness", "accuracy", "uniqueness", "consistency", "timeliness"]
Severity = Literal["critical", "warning", "info"]
Owner = Literal["user", "partner", "us"]
#: What is judged and recorded: the entities, and visits beside them (quality.run.entity).
Subject = Literal["office", "practitioner", "patient", "visit"]
#: A suite of its own judges each entity's slice as a whole; its results stand with the entity's.
SuiteName = Literal[Subject, "slice"]

#: These two are about emptiness; all others judge only the values that are there.
_ABOUT_EMPTINESS = ("expect_column_values_to_be_null", "expect_column_values_to_not_be_null")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One expectation as people read it. ``code`` names it within its entity, for ever: figures are kept under it.

    ``judges``: records, of which a run may see only those that changed; or what every run sees whole: the visits to
    come, the slice itself.
    """

    code: str
    column: str
    dimension: Dimension
    severity: Severity
    owner: Owner
    ja: str
    en: str
    judges_empty: bool
    judges: Literal["record", "visit", "slice"] = "record"

    def as_text(self) -> dict[str, object]:
        """What stands in quality.expectation, and whether a run without a failure ends a finding of it."""
        return {
            "expectation": self.code,
            "column_name": None if self.judges == "slice" else self.column,
            "judged_whole": self.judges != "record",
            "dimension": self.dimension,
            "severity": self.severity,
            "owner": self.owner,
            "ja": self.ja,
            "en": self.en,
        }

    def as_reason(self) -> dict[str, str]:
        """What stands in quarantine.row.reasons and goes with the figures; never a value."""
        return {
            "expectation": self.code,
            "column": self.column,
            "dimension": self.dimension,
            "severity": self.severity,
            "owner": self.owner,
        }


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The expectations of an entity; ``document`` is the JSON as committed."""

    entity: SuiteName
    rules: tuple[Rule, ...]
    document: Mapping[str, Any]

    @property
    def critical(self) -> list[str]:
        """The codes that put a row into quarantine: none of visits, which are ours."""
        return [rule.code for rule in self.rules if rule.severity == "critical" and self.entity != "visit"]

    def joined_with(self, other: Suite) -> Suite:
        """Its rules and those of another, for what both have judged; raises ConfigError for a shared code."""
        return Suite(entity=self.entity, rules=_apart(self.entity, (*self.rules, *other.rules)), document=self.document)

    @property
    def noted(self) -> list[str]:
        """The codes whose failing keys are kept."""
        return [rule.code for rule in self.rules if rule.severity != "info"]


@cache
def load_suite(entity: SuiteName) -> Suite:
    """Read great_expectations/suites/<entity>.json; raises ConfigError when two expectations share a code."""
    document = json.loads((SUITES / f"{entity}.json").read_text(encoding="utf-8"))
    return parse_suite(entity, document)


def parse_suite(entity: SuiteName, document: Mapping[str, Any]) -> Suite:
    """A suite from its JSON; raises ConfigError when two expectations share a code or one lacks what people read."""
    try:
        rules = tuple(_rule(entity, each) for each in document["expectations"])
    except KeyError as missing:
        raise ConfigError(problem=f"Suite {entity}: an expectation has no {missing}") from None
    return Suite(entity=entity, rules=_apart(entity, rules), document=document)


def _apart(entity: SuiteName, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if len({rule.code for rule in rules}) != len(rules):
        raise ConfigError(problem=f"Suite {entity}: two expectations have the same code")
    return rules


def _rule(entity: SuiteName, expectation: Mapping[str, Any]) -> Rule:
    meta = expectation["meta"]
    return Rule(
        code=meta["code"],
        column=expectation["kwargs"]["column"],
        dimension=meta["dimension"],
        severity=expectation["severity"],
        owner=meta["owner"],
        ja=meta["ja"],
        en=meta["en"],
        judges_empty=expectation["type"] in _ABOUT_EMPTINESS,
        judges=entity if entity in ("visit", "slice") else "record",
    )
