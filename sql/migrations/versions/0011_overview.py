"""Runs 0011_overview.sql."""

from __future__ import annotations

from stack.migrations import refuse_downgrade, run_sql_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql_file(__file__)


def downgrade() -> None:
    refuse_downgrade()
