"""Runs 0032_due.sql."""

from __future__ import annotations

from stack.migrations import refuse_downgrade, run_sql_file

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run_sql_file(__file__)


def downgrade() -> None:
    refuse_downgrade()
