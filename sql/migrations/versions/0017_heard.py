"""Runs 0017_heard.sql."""

from __future__ import annotations

from stack.migrations import refuse_downgrade, run_sql_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql_file(__file__)


def downgrade() -> None:
    refuse_downgrade()
