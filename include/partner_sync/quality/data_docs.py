"""The library's own pages (Data Docs) of a validation, for those who have internet: they load their styles from there.

They are made from the results that the gate went by, which hold counts and no value of a record: the newest of each
entity, in a folder for each partner.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partner_sync.quality.suites import Suite

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_INDEX = "index.html"


def write(folder: Path, *, partner: str, run_key: str, suite: Suite, results: Sequence[Any]) -> None:
    """Replace the partner's page of the suite's entity, and its list of pages. Raises OSError.

    Each file appears whole and at once: a validation of the same partner may write at the same time.
    """
    place = folder / partner
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(place / f"{suite.entity}.html", _page(partner=partner, run_key=run_key, suite=suite, results=results))
    pages = sorted(each.name for each in place.glob("*.html") if each.name != _INDEX)
    _replace(place / _INDEX, _list_of(partner, pages))


def _page(*, partner: str, run_key: str, suite: Suite, results: Sequence[Any]) -> str:
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    content = ValidationResultsPageRenderer().render(_as_validation(partner, run_key, suite=suite, results=results))
    return str(DefaultJinjaPageView().render(content))


def _as_validation(
    partner: str, run_key: str, *, suite: Suite, results: Sequence[Any]
) -> ExpectationSuiteValidationResult:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    sentences = {rule.code: f"{rule.ja} {rule.en}" for rule in suite.rules}
    for each in results:
        each.expectation_config.description = sentences[each.expectation_config.meta["code"]]
    statistics = calc_validation_statistics(list(results))
    return ExpectationSuiteValidationResult(
        success=statistics.success,
        results=list(results),
        suite_name=f"{partner} {suite.entity}",
        statistics=statistics._asdict(),
        meta={"run_id": RunIdentifier(run_name=run_key), "batch_spec": {}, "batch_markers": {}},
    )


def _list_of(partner: str, pages: Sequence[str]) -> str:
    items = "".join(f'<li><a href="{escape(page)}">{escape(page.removesuffix(".html"))}</a></li>' for page in pages)
    title = f"{escape(partner)}: Data Docs"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><ul>{items}</ul></body></html>"
    )


def _replace(path: Path, text: str) -> None:
    """Through a file of its own beside it, so that a reader sees the old page or the new one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
