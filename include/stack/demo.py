"""``make demo``: the whole stack with two practice partners, a few weeks of visits, and runs to look at."""

from __future__ import annotations

import os
import sys

from stack.commands import run_command
from stack.demo_links import join_all
from stack.demo_story import DAG_IDS, tell
from stack.installation import Installation
from stack.practice import PracticePartner, practice_partners
from stack.progress import say, step
from stack.up import bring_up, describe


def prepare(installation: Installation) -> dict[str, PracticePartner]:
    """Bring everything up, join the demo's organizations, and wait for the DAGs; the practice partners by profile."""
    installation.clear_ground()
    partners = practice_partners(installation)
    bring_up(installation, [partner.program() for partner in partners.values()])
    with installation.api() as api:
        with step("Two practice partners, and links to them"):
            for partner in partners.values():
                partner.wait_until_up()
            join_all(installation, api, partners=partners)
        with step("Waiting until Airflow has read the DAGs"):
            api.wait_for_dags(list(DAG_IDS))
    return partners


def main() -> None:
    """Ends with status 1 when the story did not end as it should."""
    installation = Installation.named_by(os.environ)
    prepare(installation)
    with installation.api() as api:
        told = tell(installation, api)
    say(describe(installation))
    say("The servers stay up. `make status` shows them, `make stop` ends them.")
    if told.surprises:
        sys.exit("\n".join(["Not everything ended as expected:", *told.surprises]))


if __name__ == "__main__":
    run_command(main)
