"""Why a check of a partner failed, read off the log of its task, and told as the catalogue tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from partner_sync import catalogue
from partner_sync.errors import PartnerSyncError


def explained(code: str, happened: str, *, partner: str, organization: str | None) -> str:
    """What happened, and what the catalogue says of it and of the next action, in Japanese and in English."""
    facts = {"partner": partner} | ({"organization": organization} if organization else {})
    ja, en = (catalogue.sentence(code, language, **facts) for language in ("ja", "en"))
    return "\n".join([happened, f"  ja: {ja}", f"  en: {en}"])


def failure_in(log: list[dict[str, Any]], *, partner: str, organization: str) -> str | None:
    """The explanation of the newest error of a task's log; None when the log holds none."""
    errors = [detail[0] for line in log if (detail := line.get("error_detail"))]
    if not errors:
        return None
    kinds = {kind.__name__: kind for kind in _kinds(PartnerSyncError)}
    kind = kinds.get(str(errors[-1].get("exc_type")))
    if kind is None:
        # The text of any other error may quote what the partner sent (design, rule 15).
        return explained(
            catalogue.UNEXPECTED, f"{partner}: {errors[-1].get('exc_type')}", partner=partner, organization=organization
        )
    return explained(kind.code, str(errors[-1].get("exc_value")), partner=partner, organization=organization)


def _kinds(kind: type[PartnerSyncError]) -> Iterator[type[PartnerSyncError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
