"""A live Airflow with one practice partner, for what people do to ``honoka__schedule_push``: forms, dates, backfills.

Airflow is driven by the same REST API that its UI uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from e2e.conftest import control_of
from live_stack import temporary_installation
from partner_sync.database import connect
from partner_sync.links import ReleaseMode
from partner_sync.weeks import Week
from sandbox.control_client import ControlClient
from stack import practice_product
from stack.airflow_api import AirflowApi, Json
from stack.demo import prepare
from stack.demo_links import orders
from stack.installation import Installation
from stack.link import join
from stack.practice import practice_partners
from stack.waiting import wait_until

PUSH, APPROVE = "honoka__schedule_push", "honoka__approve_push"
#: sakura-care is linked with the release mode weekly, momiji-care by hand.
WEEKLY, BY_HAND = "sakura-care", "momiji-care"
#: Of both organizations together a week has more calls than this, of one alone fewer.
USUAL_CALLS = 20
SEND, LEAVE = "送信する / Send", "送信しない / Do not send"
PATIENTS = 10


@dataclass(frozen=True)
class World:
    """The running stack: what is sent, and what stands in the database afterwards."""

    installation: Installation
    api: AirflowApi
    partner: ControlClient

    @property
    def partner_file(self) -> Path:
        return self.installation.partners / "honoka.yaml"

    @cached_property
    def op(self) -> AirflowApi:
        """Airflow as a planner sees it."""
        return self.installation.api("op")

    def rows(self, query: str, *values: object, database: str = "partner_sync") -> list[dict[str, Any]]:
        """Look at everything, as the database's admin."""
        with connect(self.installation.cluster.url(database)) as admin:
            done = admin.execute(query, values)  # type: ignore[call-overload]  # the statement is a plain str in tests
            return done.fetchall() if done.description else []

    def finalized(self, *days: str, organizations: Sequence[str] = (WEEKLY, BY_HAND)) -> None:
        """Plan the weeks of these days, and have their offices finalize them."""
        with self.installation.connect("sync_product") as product:
            for organization in organizations:
                weeks = [Week.parse(day) for day in days]
                practice_product.plan_weeks(product, organization, weeks=dict.fromkeys(weeks, False))
                for week in weeks:
                    practice_product.finalize(product, organization, week=week)

    def start(self, form: Json | None = None, **request: Any) -> str:
        """Trigger a push as the UI does: by default with an empty logical date."""
        body = {"logical_date": None, "conf": form or {}} | request
        return str(self.op.request("POST", f"dags/{PUSH}/dagRuns", json=body)["dag_run_id"])

    def push(self, form: Json | None = None, **request: Any) -> Json:
        """Trigger a push and wait until it has ended."""
        return self.ended(self.start(form, **request))

    def ended(self, run_id: str, dag_id: str = PUSH) -> Json:
        """A run that has ended, or is about to be started and then ends."""
        wait_until(lambda: self._is_there(run_id, dag_id), seconds=120, what=f"the run {run_id}")
        self.api.wait_for_run(dag_id, run_id, seconds=300)
        return self.api.run(dag_id, run_id)

    def _is_there(self, run_id: str, dag_id: str) -> bool:
        runs = self.api.request("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100, "order_by": "-id"})["dag_runs"]
        return run_id in {run["dag_run_id"] for run in runs}

    def states(self, run_id: str, dag_id: str = PUSH) -> dict[str, str]:
        """The state of each task; of a mapped one that of its last index."""
        return {task["task_id"]: task["state"] for task in self.api.task_instances(dag_id, run_id)}

    def weeks_of(self, run_id: str) -> set[str]:
        """The weeks that a run has released."""
        found = self.rows("select week from sync.push_request where run_key = %s", f"{PUSH}/{run_id}")
        return {str(row["week"]) for row in found}

    def planned(self, monday: str, organization: str) -> set[str]:
        """The visits of a week, as the product has them."""
        found = self.rows(
            "select visit_id from schedule.visit where schedule.week_of(start_at) = %s and organization = %s"
            " and status <> 'cancelled'",
            date.fromisoformat(monday),
            organization,
        )
        return {row["visit_id"] for row in found}

    def held(self, organization: str) -> set[str]:
        """The visits that the practice partner holds, by its own account."""
        return {visit["key"] for visit in self.partner.visits(organization)}

    @contextmanager
    def arriving(self) -> Iterator[set[tuple[str, str]]]:
        """Organization and week (its Monday) of what reached the practice partner meanwhile, by its own account."""
        before = self._at_the_partner()
        weeks: set[tuple[str, str]] = set()
        yield weeks
        weeks |= {(visit[0], week) for visit, week in self._at_the_partner().items() if visit not in before}

    def _at_the_partner(self) -> dict[tuple[str, str, int], str]:
        return {(v["organization"], v["key"], v["version"]): v["week"] for v in self.partner.visits()}

    def calls(self) -> int:
        """How many calls have reached the practice partner."""
        return len(self.partner.received())

    def backfill(self, from_date: str, to_date: str, **options: Any) -> Json:
        body = {"dag_id": PUSH, "from_date": from_date, "to_date": to_date, "max_active_runs": 2} | options
        return self.api.request("POST", "backfills", json=body)

    def backfilled(self, backfill: Json) -> list[Json]:
        """The runs of a backfill, by date, once all have ended; the next backfill may then begin."""
        wanted = {
            row["run_id"]
            for row in self.rows(
                "select r.run_id from backfill_dag_run b join dag_run r on r.id = b.dag_run_id"
                " where b.backfill_id = %s",
                backfill["id"],
                database="airflow",
            )
        }
        runs = [self.ended(run_id) for run_id in wanted]
        # Airflow looks only every 30 seconds whether a backfill is over.
        self.api.request("PUT", f"backfills/{backfill['id']}/cancel")
        return sorted(runs, key=lambda run: str(run["logical_date"]))

    def edit(self, monday: str, organization: str) -> None:
        with self.installation.connect("sync_product") as product:
            practice_product.edit(product, organization, week=Week.parse(monday))

    def clear(self, run_id: str, *, task_ids: Sequence[str] = (), dag_id: str = PUSH) -> None:
        """Clear a run, or some of its tasks with what follows them."""
        body: Json = {"dry_run": False}
        if task_ids:
            body |= {"dag_run_id": run_id, "task_ids": list(task_ids), "include_downstream": True}
            body |= {"only_failed": False, "reset_dag_runs": True}
            self.api.request("POST", f"dags/{dag_id}/clearTaskInstances", json=body)
        else:
            self.api.request("POST", f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/clear", json=body)

    def mark_success(self, run_id: str, *, task_id: str, dag_id: str = PUSH) -> None:
        path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        self.api.request("PATCH", path, params={"update_mask": "new_state"}, json={"new_state": "success"})

    def link_as(self, organization: str, release: ReleaseMode) -> None:
        _link(self, organization, release)

    @contextmanager
    def scheduled_each_minute(self) -> Iterator[None]:
        """The partner file's schedule is each minute; Airflow has read it."""
        before = self.partner_file.read_text(encoding="utf-8")
        try:
            self.partner_file.write_text(before.replace("0 18 * * FRI", "* * * * *"), encoding="utf-8")
            self._wait_for_schedule("* * * * *")
            yield
        finally:
            self.partner_file.write_text(before, encoding="utf-8")
            self._wait_for_schedule("0 18 * * FRI")

    def _wait_for_schedule(self, cron: str) -> None:
        wait_until(
            lambda: self.api.request("GET", f"dags/{PUSH}")["timetable_summary"] == cron, seconds=90, what=f"{cron}"
        )

    def first_scheduled(self) -> str:
        """The first run that the schedule starts."""

        def scheduled() -> list[Json]:
            runs: list[Json] = self.api.request("GET", f"dags/{PUSH}/dagRuns", params={"run_type": "scheduled"})[
                "dag_runs"
            ]
            return runs

        wait_until(lambda: bool(scheduled()), seconds=90, what="a scheduled run")
        return str(min(run["dag_run_id"] for run in scheduled()))

    def question(self, asked_by: str) -> str:
        """The run that asks for an approval, once it waits for the answer."""
        run_id = f"ask__{asked_by}"
        wait_until(
            lambda: self._is_there(run_id, APPROVE) and self.states(run_id, APPROVE).get("approve") == "awaiting_input",
            seconds=120,
            what=f"{run_id}",
        )
        # Airflow ends a task that is resumed before it has seen that the task had stopped, and tries it again later.
        time.sleep(2)
        return run_id

    def asked(self, question: str) -> Json:
        return self.api.request("GET", _answer_path(question))

    def answer(self, question: str, option: str, *, by: AirflowApi | None = None) -> None:
        (by or self.api).request("PATCH", _answer_path(question), json={"chosen_options": [option], "params_input": {}})


def _answer_path(question: str) -> str:
    run = quote(question, safe="")
    return f"dags/{APPROVE}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"


@contextmanager
def weeks_world() -> Iterator[World]:
    """Everything up, master data in, two organizations linked; nothing is planned yet and nothing runs by itself."""
    with temporary_installation() as installation:
        file = installation.partners / "honoka.yaml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("  live: true\n", f"  live: true\n  approve_over_calls: {USUAL_CALLS}\n"))
        partner = control_of(prepare(installation)["honoka"])
        partner.resize(patients=PATIENTS, dirty_share=0)
        with installation.api() as api:
            world = World(installation, api, partner)
            _link(world, WEEKLY, "weekly")
            for dag_id in ("honoka__master_sync", PUSH):
                api.unpause(dag_id)
            synced = api.trigger("honoka__master_sync", {"mode": "full", "organizations": [WEEKLY, BY_HAND]})
            assert api.wait_for_run("honoka__master_sync", synced) == "success"
            api.unpause("honoka__master_sync", paused=True)
            yield world


def _link(world: World, organization: str, release: ReleaseMode) -> None:
    for order in orders(practice_partners(world.installation)):
        if (order.link.partner, order.link.organization) == ("honoka", organization):
            join(world.installation, world.api, order=replace(order, link=replace(order.link, release_mode=release)))
