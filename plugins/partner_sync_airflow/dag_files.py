"""From partner files to DAGs: which DAGs a DAG file holds, and what stands in for those of a broken partner file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from airflow.sdk import DAG

from partner_sync.partners.loader import Directory, load_partners
from partner_sync.partners.model import Partner
from partner_sync_airflow.building.arguments import Kind
from partner_sync_airflow.building.broken import broken_dag
from partner_sync_airflow.partner_files import partners_folder

BuildDag = Callable[[Partner], DAG | None]
_NOT_IN_A_DAG_ID = re.compile(r"[^A-Za-z0-9_-]")


def dags_of(kind: Kind, build: BuildDag, *, wanted: str | None, folder: Path | None = None) -> dict[str, DAG]:
    """The DAGs of one kind by id; ``wanted`` is the one that a task is about to run (get_parsing_context), or None.

    A broken partner file keeps its DAG ids: Airflow drops every DAG of a file that raises, and a DAG that is not there
    cannot say what is wrong.
    """
    found = _partners(folder or partners_folder(), wanted)
    dags: dict[str, DAG] = {}
    for name, problems in found.broken.items():
        # A file whose name is no slug never had a DAG id: any that Airflow takes will do.
        slug = _NOT_IN_A_DAG_ID.sub("_", name)[:60]
        if wanted in (None, f"{slug}__{kind}"):
            dags[f"{slug}__{kind}"] = broken_dag(slug, kind, problems=list(map(str, problems)))
    for slug, partner in found.partners.items():
        if wanted in (None, f"{slug}__{kind}") and (dag := build(partner)) is not None:
            dags[dag.dag_id] = dag
    return dags


def _partners(folder: Path, wanted: str | None) -> Directory:
    """The partner that is wanted; all of them otherwise, also when a file's name is another than its DAG ids say."""
    if wanted is not None:
        found = load_partners(folder, only=wanted.partition("__")[0])
        if found.partners or found.broken:
            return found
    return load_partners(folder)
