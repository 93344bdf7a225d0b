"""Migrations are numbered without a gap, are all run, and only go forward."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from partner_sync.errors import ConfigError
from stack.migrations import FOLDER, config, migrate, refuse_downgrade


def stems(pattern):
    return sorted(path.stem for path in FOLDER.glob(pattern))


def test_each_script_has_its_version_module():
    assert stems("[0-9]*.sql") == stems("versions/[0-9]*.py")


def test_versions_follow_each_other_by_number_without_a_gap():
    revisions = [each.revision for each in ScriptDirectory.from_config(config()).walk_revisions()]
    assert revisions[::-1] == [f"{number:04d}" for number in range(1, len(stems("[0-9]*.sql")) + 1)]


def test_a_migrated_database_has_nothing_left_to_run(postgres, database):
    assert migrate(postgres.admin_url(database.name)) == []


def test_going_back_is_refused():
    with pytest.raises(ConfigError, match="only go forward"):
        refuse_downgrade()
