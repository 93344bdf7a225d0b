"""Runs 0028_expectations.sql."""

from __future__ import annotations

from stack.migrations import refuse_downgrade, run_sql_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run_sql_file(__file__)


def downgrade() -> None:
    refuse_downgrade()
