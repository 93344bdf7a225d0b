"""The quarantine of an organization as a CSV file that a partner's office opens in a spreadsheet.

RFC 4180: commas, quotes doubled, CRLF. Cells that a spreadsheet would take for a formula begin with an apostrophe
(OWASP, CSV injection; full-width signs count as well). In CP932, what it cannot write is shown as 〓 and counted.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from partner_sync.report.moments import moment

Encoding = Literal["utf-8", "cp932"]
GETA = "〓"
_FORMULA_SIGNS = frozenset("=+-@\t\r\n")
#: U+2212 comes back from CP932 as the full-width minus; NFKC leaves it as it is.
_MINUS = "−"
_MARK = {"utf-8": b"\xef\xbb\xbf", "cp932": b""}

#: The heads of the columns are texts: 'file.id', 'file.entity', ...
COLUMNS = ("id", "entity", "key", "copy", "name", "since", "reasons", "record", "replaced")


def file_of(
    rows: Iterable[Mapping[str, Any]], *, encoding: Encoding, tell: Callable[[str, str], str]
) -> Iterator[bytes]:
    """The file, piece by piece: one line a copy of a record. ``tell(kind, code)``: the words for a
    column, an entity, or an entity's expectation.

    ``rows`` as quarantine.read_open gives them.
    """
    yield _MARK[encoding] + _line([tell("file", column) for column in COLUMNS], encoding)
    for row in rows:
        for number, (staged, raw) in enumerate(zip(row["staged"], row["raw"], strict=True), start=1):
            cells = [
                str(row["id"]),
                tell("entity", row["entity"]),
                row["source_key"] or "",
                f"{number}/{len(row['raw'])}",
                _name(staged),
                moment(row["first_seen_at"]),
                " / ".join(tell(row["entity"], reason["expectation"]) for reason in row["reasons"]),
                json.dumps(raw, ensure_ascii=False),
            ]
            yield _line([*cells, str(sum(_lost(cell, encoding) for cell in cells))], encoding)


def harmless(cell: str) -> str:
    """The cell as a spreadsheet shows it without computing anything."""
    start = cell.lstrip(" \u3000")[:1] or cell[:1]
    dangerous = {start, unicodedata.normalize("NFKC", start)} & (_FORMULA_SIGNS | {_MINUS})
    return f"'{cell}" if dangerous else cell


def _line(cells: Iterable[str], encoding: Encoding) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_writable(harmless(cell), encoding) for cell in cells])
    return text.getvalue().encode(encoding)


def _writable(cell: str, encoding: Encoding) -> str:
    if not _lost(cell, encoding):
        return cell
    return "".join(GETA if _lost(character, encoding) else character for character in cell)


def _lost(text: str, encoding: Encoding) -> int:
    """How many characters the encoding cannot write."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return sum(_lost(character, encoding) for character in text) if len(text) > 1 else 1
    return 0


def _name(staged: Mapping[str, Any]) -> str:
    parts = [staged.get("family_name"), staged.get("given_name")] if "family_name" in staged else [staged.get("name")]
    return " ".join(str(part) for part in parts if part)
