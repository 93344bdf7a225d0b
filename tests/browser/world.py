"""A live Airflow with the practice partners, a master sync that ended red and one that broke off, and its people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import httpx

from e2e.conftest import control_of
from live_stack import temporary_installation
from partner_sync.database import connect
from stack.airflow_api import AirflowApi
from stack.demo import prepare
from stack.installation import Installation
from stack.settings import PEOPLE, password_of

PREPARE = Path(__file__).with_name("history.sql")
SYNC = "honoka__master_sync"


@dataclass
class World:
    """The running stack. ``run_id``: a sync of honoka that ended red; ``broken_run_id``: one that judged nothing."""

    installation: Installation
    api: AirflowApi
    run_id: str
    broken_run_id: str

    @property
    def address(self) -> str:
        return self.installation.airflow_url

    @cached_property
    def tokens(self) -> dict[str, str]:
        """What each person's browser holds after the login."""
        found = {}
        for person in PEOPLE:
            password = password_of(self.installation.secret_store, person)
            credentials = {"username": person, "password": password}
            answer = httpx.post(f"{self.address}/auth/token", json=credentials, trust_env=False)
            found[person] = answer.raise_for_status().json()["access_token"]
        return found

    @cached_property
    def record(self) -> int:
        """A record in quarantine, which can be released."""
        return int(self.value("select min(id) from quarantine.row where status = 'open' and source_key is not null"))

    @cached_property
    def places(self) -> dict[str, str]:
        """Each page by a name of ours."""
        partner, organization = "honoka", "sakura-care"
        expectation = self.value(
            "select expectation from quarantine.failing_key where partner = 'honoka' and entity = 'patient'"
            " group by 1 order by count(*) desc limit 1"
        )
        return {
            "overview": "/quality/",
            "partner": f"/quality/partners/{partner}?entity=patient&organization={organization}",
            "expectation": f"/quality/partners/{partner}/patient/{expectation}",
            "findings": "/quality/findings",
            "run": f"/quality/runs/{partner}/{quote(f'{SYNC}/{self.run_id}')}",
            "quarantine": f"/quality/quarantine?partner={partner}",
            "record": f"/quality/quarantine/{self.record}",
        }

    def value(self, query: str) -> object:
        """One value, looked up as the database's admin."""
        with connect(self.installation.cluster.url("partner_sync")) as admin:
            (row,) = admin.execute(query.encode()).fetchall()
        return next(iter(row.values()))

    def links_of(self, run_id: str, task_id: str) -> dict[str, str]:
        """The buttons on a task's page."""
        path = f"dags/{SYNC}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/links"
        found: dict[str, str] = self.api.request("GET", path)["extra_links"]
        return found


@contextmanager
def pages_world() -> Iterator[World]:
    with temporary_installation() as installation:
        for partner in prepare(installation).values():
            control_of(partner).resize(patients=45, dirty_share=0.15)
        with installation.api() as api:
            for slug in ("honoka", "tsubaki"):
                api.unpause(f"{slug}__master_sync")
            broken = api.trigger(SYNC, {"organizations": ["no-such-organization"]})
            api.wait_for_run(SYNC, broken)
            run_id = api.trigger(SYNC, {"mode": "full"})
            api.wait_for_run(SYNC, run_id)
            other = api.trigger("tsubaki__master_sync", {"mode": "full"})
            api.wait_for_run("tsubaki__master_sync", other)
            with connect(installation.cluster.url("partner_sync")) as admin:
                admin.execute(PREPARE.read_text(encoding="utf-8").encode())
            yield World(installation, api, run_id, broken)
