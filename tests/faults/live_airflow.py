"""A live Airflow of its own, with a judge for a partner: its file, its link, and a planned week."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from faults.partner_documents import document_of
from faults.released_week import Place, ReleasedWeek
from live_stack import temporary_installation
from partner_sync.links import Link
from partner_sync.weeks import Week
from stack.airflow_api import AirflowApi
from stack.bootstrap import at_database
from stack.installation import Installation
from stack.link import LinkOrder, connection_id_of, join
from stack.logins import DATABASE
from stack.up import bring_up
from stack.waiting import wait_until

SLUG = "judge"
#: A killed server is up again after a minute on a busy machine; its tasks are taken over half a minute later.
TASK_LOST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class LiveAirflow:
    """The running stack and the week that ``judge__schedule_push`` is to send."""

    installation: Installation
    api: AirflowApi
    week: ReleasedWeek

    @property
    def place(self) -> Place:
        return place_of(self.installation)

    def push(self) -> str:
        """Start the push of the week; returns its run id."""
        return self.api.trigger(f"{SLUG}__schedule_push", {"week": str(self.week.week)})

    def wait_until_sending_is(self, state: str, *, run_id: str) -> None:
        """Until a task of the push that sends is in that state; raises AssertionError when the run ends before, and
        NotInTimeError.
        """
        dag_id = f"{SLUG}__schedule_push"

        def is_there() -> bool:
            run = self.api.run(dag_id, run_id)["state"]
            states = {task["task_id"]: task["state"] for task in self.api.task_instances(dag_id, run_id)}
            assert run in {"queued", "running"}, f"{run} before the sending was {state}: {states}"
            return states.get("push") == state

        wait_until(is_there, seconds=TASK_LOST_SECONDS, what=f"a push that is {state}", every_seconds=0.2)

    def kill(self, program: str) -> None:
        """kill -9 of one of Airflow's servers, which the supervisor starts again."""
        before = self.installation.supervisor.process_ids()[program]
        os.kill(before, signal.SIGKILL)

        def is_new() -> bool:
            return self.installation.supervisor.process_ids()[program] not in {0, before}

        wait_until(is_new, seconds=60, what=f"a new {program}", every_seconds=0.2)


@contextmanager
def live_airflow(address: str, *, visits: int, **partner: object) -> Iterator[LiveAirflow]:
    """A stack whose partner ``judge`` is at ``address``; ``partner`` are keys of its file."""
    coming = Week.of(datetime.now(UTC)).next()
    week = ReleasedWeek(number=1, partners=(SLUG,), visits=visits, week=coming)
    with temporary_installation() as installation:
        document = document_of(**partner)
        (installation.partners / f"{SLUG}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        bring_up(installation)
        week.plan(place_of(installation))
        with installation.api() as api:
            _join(installation, api, week=week, address=address)
            api.wait_for_dags([f"{SLUG}__schedule_push"])
            api.unpause(f"{SLUG}__schedule_push")
            yield LiveAirflow(installation=installation, api=api, week=week)


def place_of(installation: Installation) -> Place:
    """Its database, by its logins."""

    def url(writer: str) -> str:
        login = f"sync_{writer}"
        return installation.address.url(login, installation.secret_store.get(login), database=DATABASE)

    return Place(url=url, admin_url=at_database(installation.cluster.url(), DATABASE))


def _join(installation: Installation, api: AirflowApi, *, week: ReleasedWeek, address: str) -> None:
    link = Link(
        partner=SLUG,
        organization=week.organization,
        connection_id=connection_id_of(SLUG, week.organization),
        directions=("schedule",),
    )
    order = LinkOrder(link=link, name=week.organization, url=address, key=week.organization)
    join(installation, api, order=order)
