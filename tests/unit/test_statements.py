"""Named statements come from committed files only."""

from __future__ import annotations

from pathlib import Path

import pytest

from partner_sync.errors import UnknownStatementError
from partner_sync.statements import SQL_FOLDER, statement, statements_of


@pytest.mark.parametrize("path", sorted(SQL_FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_every_statement_says_in_its_first_line_what_it_is_for(path: Path) -> None:
    for name, text in statements_of(path.stem).items():
        assert text.startswith("-- "), name


@pytest.mark.parametrize("name", ["delivery.no_such", "no_such.claim", "delivery"])
def test_an_unknown_statement_is_named(name: str) -> None:
    with pytest.raises(UnknownStatementError, match=name):
        statement(name)
