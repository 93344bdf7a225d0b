"""What Airflow is told of the quality pages: the application, the views, the link of the validation."""

from __future__ import annotations

import runpy
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_for_tests import ROOT


@pytest.fixture(scope="module")
def plugin() -> Any:
    return runpy.run_path(str(ROOT / "plugins" / "partner_sync_plugin.py"))["PartnerSyncPlugin"]()


def test_the_pages_are_mounted_under_quality(plugin: Any) -> None:
    (mounted,) = plugin.fastapi_apps
    assert mounted["url_prefix"] == "/quality"
    assert plugin.fastapi_apps is plugin.fastapi_apps


def test_a_process_that_shows_no_pages_does_not_import_them() -> None:
    code = (
        "import sys, runpy; runpy.run_path('plugins/partner_sync_plugin.py')['PartnerSyncPlugin']();"
        "heavy = ('partner_sync_airflow.pages.app', 'partner_sync_airflow.operators');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    environment = {"PYTHONPATH": "include:plugins", "AIRFLOW_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_every_view_has_a_route_of_its_own(plugin: Any) -> None:
    views = plugin.external_views
    assert {view["destination"] for view in views} == {"nav", "dag", "dag_run"}
    assert len({view["url_route"] for view in views}) == len(views)
    assert all(view["href"].startswith("/quality/") for view in views)


def test_the_link_of_a_validation_needs_nothing_but_the_tasks_key(plugin: Any) -> None:
    (link,) = plugin.operator_extra_links
    assert [operator.__name__ for operator in link.operators] == ["ValidateOperator"]
    key = SimpleNamespace(dag_id="honoka__master_sync", run_id="manual__2026-11-28T11:00:00+00:00_a/b?c")
    address = link.get_link(None, ti_key=key)
    assert address == "/quality/runs/honoka/honoka__master_sync/manual__2026-11-28T11%3A00%3A00%2B00%3A00_a/b%3Fc"


def test_the_rights_that_the_pages_ask_for_mean_the_same_roles_in_fab() -> None:
    from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride as Fab
    from airflow.providers.fab.www.security import permissions as names

    reading = {(names.ACTION_CAN_READ, names.RESOURCE_DAG), (names.ACTION_CAN_READ, names.RESOURCE_DAG_RUN)}
    values = (names.ACTION_CAN_EDIT, names.RESOURCE_CONNECTION)
    looks = (names.ACTION_CAN_READ, names.RESOURCE_AUDIT_LOG)
    assert reading <= set(Fab.VIEWER_PERMISSIONS)
    assert values in Fab.OP_PERMISSIONS
    assert values not in {*Fab.VIEWER_PERMISSIONS, *Fab.USER_PERMISSIONS}
    assert looks in Fab.ADMIN_PERMISSIONS
    assert looks not in {*Fab.VIEWER_PERMISSIONS, *Fab.USER_PERMISSIONS, *Fab.OP_PERMISSIONS}
