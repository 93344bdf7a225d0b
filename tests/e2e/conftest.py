"""One live Airflow with two practice partners for these tests; the story of the demo has been played on it once.

It ends with them: an idle Airflow takes half a core from whatever is tested next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from live_stack import temporary_installation
from partner_sync.weeks import Week
from sandbox.control_client import ControlClient
from stack.airflow_api import AirflowApi
from stack.demo import prepare
from stack.demo_story import Told, tell
from stack.installation import Installation
from stack.practice import PracticePartner

if TYPE_CHECKING:
    from e2e.weeks_world import World


@dataclass(frozen=True)
class Live:
    """The running stack, and what the story came to."""

    installation: Installation
    api: AirflowApi
    partners: dict[str, ControlClient]
    told: Told

    @property
    def week(self) -> Week:
        return self.told.week

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Look at everything, as the database's admin."""
        from partner_sync.database import connect

        with connect(self.installation.cluster.url("partner_sync")) as admin:
            return admin.execute(query, values).fetchall()  # type: ignore[call-overload]  # the statement is a plain str in tests

    def practice_visits(self, partner: str, organization: str) -> dict[str, dict[str, Any]]:
        """What the practice partner holds, counted by itself, by our visit id."""
        visits = self.partners[partner].visits(organization)
        return {visit["body"].get("external_id") or visit["key"]: visit["body"] for visit in visits}


def control_of(partner: PracticePartner) -> ControlClient:
    token = (partner.folder / "control-token").read_text(encoding="utf-8").strip()
    return ControlClient(partner.url, token)


@pytest.fixture(scope="package")
def live() -> Iterator[Live]:
    with temporary_installation() as installation:
        partners = {profile: control_of(partner) for profile, partner in prepare(installation).items()}
        for partner in partners.values():
            # Enough to cross pages and shares, and every kind of dirt; the demo itself has more.
            partner.resize(patients=45, dirty_share=0.15)
        with installation.api() as api:
            yield Live(installation, api, partners, tell(installation, api))


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """A live Airflow of its own with two organizations to push for; what people do to pushes is tried on it."""
    from e2e.weeks_world import weeks_world

    with weeks_world() as found:
        yield found
