"""The one table at the end of the demo: what happened, by partner and organization, and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from partner_sync.catalogue import Language, sentence
from partner_sync.database import translated_errors
from partner_sync.incidents import causes_of, message, open_incidents
from partner_sync.statements import statement
from stack.installation import Installation
from stack.progress import say

LANGUAGES: tuple[Language, ...] = get_args(Language)
COLUMNS = ("extracted", "quarantined", "merged", "planned", "sent", "accepted", "rejected", "waiting")


def print_table(installation: Installation, *, partners: Sequence[str]) -> None:
    """Print the table, and the open causes with whose turn it is."""
    with installation.connect("sync_run") as run, translated_errors():
        rows = run.execute(statement("overview.by_link")).fetchall()
        causes = [cause for slug in partners for cause in causes_of(open_incidents(run, partner=slug))]
    lines = ["", *_table(rows), ""]
    lines += [text for row in rows if row["blocked"] for text in _blocked(row)]
    lines += [text for cause in causes for language in LANGUAGES for text in (message(cause, language), "")]
    for line in lines:
        say(line)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    header = ["partner", "organization", *COLUMNS]
    body = [[str(row[name] if row[name] is not None else 0) for name in header] for row in rows]
    widths = [max(len(line[at]) for line in [header, *body]) for at in range(len(header))]
    return ["  ".join(_cell(text, width, at=at) for at, (text, width) in enumerate(zip(line, widths, strict=True)))
            for line in [header, ["-" * width for width in widths], *body]]  # fmt: skip


def _cell(text: str, width: int, *, at: int) -> str:
    return text.ljust(width) if at < 2 else text.rjust(width)


def _blocked(row: Mapping[str, Any]) -> list[str]:
    where = {"partner": row["partner"], "organization": row["organization"]}
    head = f"{row['partner']} / {row['organization']}: {row['blocked']} of the waiting visits are blocked"
    return [head, *(f"  {sentence('blocked_no_key', language, **where)}" for language in LANGUAGES), ""]
