"""Runs 0031_release.sql."""

from __future__ import annotations

from stack.migrations import refuse_downgrade, run_sql_file

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    run_sql_file(__file__)


def downgrade() -> None:
    refuse_downgrade()
