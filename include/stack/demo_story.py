"""What the demo does once everything is up: the runs, in their order, and what each should end as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from partner_sync.database import Connection
from partner_sync.weeks import Week
from stack import practice_product
from stack.airflow_api import AirflowApi, Json
from stack.demo_hints import print_hints
from stack.demo_links import LINKS
from stack.demo_table import print_table
from stack.installation import Installation
from stack.progress import say, step

PARTNERS = ("honoka", "tsubaki")
DAG_IDS = tuple(f"{partner}__{work}" for partner in PARTNERS for work in ("master_sync", "schedule_push", "live_push"))
#: The organization with the wrong key has no people, so nothing can be planned for it.
PLANNING = tuple(dict.fromkeys(link.organization for link in LINKS if not link.key_is_wrong))


@dataclass(frozen=True)
class Scene:
    """One run: its DAG, its form, and the state it should end in (red where one organization's key is wrong)."""

    dag_id: str
    conf: Json
    ends_as: str = "success"


@dataclass
class Told:
    """What the story came to: the week that was sent, its runs (DAG id, run id), and those that ended otherwise."""

    week: Week
    runs: list[tuple[str, str]] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


def tell(installation: Installation, api: AirflowApi) -> Told:
    """Play everything; every scene is played, also after a bad one."""
    for dag_id in DAG_IDS:
        api.unpause(dag_id)
    coming = Week.of(datetime.now(UTC)).next()
    told = Told(coming)
    with installation.connect("sync_product") as product:
        _read_master_data(api, told, known=practice_product.has_patients(product, "momiji-care"))
        _plan(product, coming)
        pushes = [Scene(f"{partner}__schedule_push", {"week": str(coming)}) for partner in PARTNERS]
        _play_together(api, told, scenes=pushes)
        with step("The planner moves a visit, writes a note and cancels a visit in each organization"):
            for organization in PLANNING:
                practice_product.edit(product, organization, week=coming)
        _play_together(api, told, scenes=[Scene(f"{partner}__live_push", {}) for partner in PARTNERS])
    print_table(installation, partners=PARTNERS)
    print_hints(installation, coming)
    return told


def _read_master_data(api: AirflowApi, told: Told, *, known: bool) -> None:
    scenes = [
        Scene("honoka__master_sync", {"mode": "full"}, ends_as="failed"),
        Scene("tsubaki__master_sync", {"mode": "full"}),
    ]
    # momiji-care's people are joined at tsubaki by identifiers that its master, honoka, has to bring first.
    for together in [scenes] if known else [[scene] for scene in scenes]:
        _play_together(api, told, scenes=together)


def _plan(product: Connection, coming: Week) -> None:
    this = coming.previous()
    weeks = {this.previous(): True, this: False, coming: False}
    with step(f"The scheduling product plans three weeks; offices finalize {coming.describe()}"):
        for number, organization in enumerate(PLANNING):
            planned = practice_product.plan_weeks(product, organization, weeks=weeks)
            practice_product.finalize(product, organization, week=this.previous())
            practice_product.finalize(product, organization, week=coming, leave_open=1 if number == 0 else 0)
            say(f"          {organization}: {planned} new visits" + (", one office left open" if number == 0 else ""))


def _play_together(api: AirflowApi, told: Told, *, scenes: Sequence[Scene]) -> None:
    """Start the runs at once and wait for all."""
    with step("Runs of " + ", ".join(scene.dag_id for scene in scenes)):
        started = [(scene, api.trigger(scene.dag_id, scene.conf)) for scene in scenes]
        ended = [(scene, run_id, api.wait_for_run(scene.dag_id, run_id)) for scene, run_id in started]
    for scene, run_id, state in ended:
        told.runs.append((scene.dag_id, run_id))
        if state != scene.ends_as:
            told.surprises.append(f"{scene.dag_id}: {state}, expected {scene.ends_as}")
        say(f"          {scene.dag_id}: {state}{_remark(scene, state)}")


def _remark(scene: Scene, state: str) -> str:
    if state != scene.ends_as:
        return f" (expected: {scene.ends_as})"
    return ", as it should be: the key of kaede-care is wrong on purpose" if state == "failed" else ""
