"""What `make link` leaves behind, in the database and in Airflow, when it is carried out and when it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from partner_sync.errors import ConfigError, SecondMasterError
from partner_sync.links import Link, link_of
from postgres_server import Database
from scripted_server import Came, Reply, ScriptedServer
from stack.airflow_api import AirflowApi
from stack.installation import Installation
from stack.link import LinkOrder, connection_id_of, join, order_of, parse

CODE = "sakura-care"


class StandInAirflow:
    """Keeps connections and pools as Airflow's API does; ``refuses`` names a collection that it does not take."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.refuses = ""

    def answer(self, came: Came) -> Reply:
        if came.path == "/auth/token":
            return Reply(201, {"access_token": "t"})
        name = came.path.removeprefix("/api/v2/")
        if came.method != "GET" and name.startswith(self.refuses or "nothing"):
            return Reply(422, {"detail": "no"})
        if came.method == "POST":
            name = f"{name}/{came.json.get('connection_id') or came.json.get('name')}"
        elif name not in self.kept:
            return Reply(404, {"detail": "not found"})
        if came.method != "GET":
            self.kept[name] = self.kept.get(name, {}) | came.json
        return Reply(200, self.kept[name])

    def connection(self, partner: str) -> dict[str, Any]:
        return self.kept.get(f"connections/{connection_id_of(partner, CODE)}", {})


@pytest.fixture
def airflow() -> StandInAirflow:
    return StandInAirflow()


@pytest.fixture
def api(airflow: StandInAirflow) -> Iterator[AirflowApi]:
    with ScriptedServer(airflow.answer) as server, AirflowApi(server.base_url, "admin", password="p") as api:
        yield api


@pytest.fixture
def installation(database: Database) -> Installation:
    """The partner files of the clone, and the test's database."""
    parts = SimpleNamespace(
        partners=Installation.partners, connect=lambda login: database.connect(login.removeprefix("sync_"))
    )
    return cast("Installation", parts)


def link(partner: str = "honoka", **facts: Any) -> Link:
    common = {"organization": CODE, "connection_id": connection_id_of(partner, CODE), "directions": ("master",)}
    return Link(partner=partner, **(common | facts))


def order(partner: str = "honoka", *, key: str | None = "k", name: str = "さくら会", **facts: Any) -> LinkOrder:
    return LinkOrder(link=link(partner, **facts), name=name, url="https://partner.example", key=key)


def written(database: Database) -> tuple[list[Any], list[Any], list[Any]]:
    admin = database.admin()
    return (
        admin.execute("select code, name from sync.organization").fetchall(),
        admin.execute("select partner, enabled from sync.link order by partner").fetchall(),
        admin.execute("select partner, entity from sync.link_master order by partner, entity").fetchall(),
    )


def test_a_renewed_key_leaves_name_masters_release_and_directions_as_they_were(
    database: Database, installation: Installation, api: AirflowApi, airflow: StandInAirflow
) -> None:
    join(installation, api, order=order(master_of=("office", "patient"), release_mode="weekly"))
    before = written(database)
    given = {"PARTNER": "honoka", "ORGANIZATION": CODE, "URL": "https://other.example"}
    with installation.connect("sync_onboarding") as conn:
        known = link_of(conn, partner="honoka", organization=CODE)
        join(installation, api, order=replace(order_of(parse([], given), known), key="renewed"))
        assert link_of(conn, partner="honoka", organization=CODE) == known
    assert written(database) == before
    held = airflow.connection("honoka")
    assert (held["host"], held["password"]) == ("https://other.example", "renewed")


def test_without_a_new_key_the_old_one_stays(
    installation: Installation, api: AirflowApi, airflow: StandInAirflow
) -> None:
    join(installation, api, order=order())
    join(installation, api, order=LinkOrder(link=link(enabled=False)))
    assert airflow.connection("honoka")["password"] == "k"


def test_a_link_without_a_key_writes_nothing(database: Database, installation: Installation, api: AirflowApi) -> None:
    with pytest.raises(ConfigError, match="say KEY_FILE too"):
        join(installation, api, order=order(key=None))
    assert written(database) == ([], [], [])


def test_a_second_master_writes_nothing_and_renames_nobody(
    database: Database, installation: Installation, api: AirflowApi, airflow: StandInAirflow
) -> None:
    join(installation, api, order=order(master_of=("patient",)))
    before = written(database)
    with pytest.raises(SecondMasterError):
        join(installation, api, order=order("tsubaki", name="another", master_of=("office", "patient")))
    assert written(database) == before
    assert airflow.connection("tsubaki") == {}


@pytest.mark.parametrize("refused", ["connections", "pools"])
def test_what_airflow_refuses_leaves_the_database_as_it_was(
    database: Database, installation: Installation, api: AirflowApi, airflow: StandInAirflow, refused: str
) -> None:
    airflow.refuses = refused
    with pytest.raises(ConfigError, match="Airflow answered 422"):
        join(installation, api, order=order(master_of=("patient",)))
    assert written(database) == ([], [], [])


def test_a_code_that_is_none_writes_nothing(
    database: Database, installation: Installation, api: AirflowApi, airflow: StandInAirflow
) -> None:
    with pytest.raises(ConfigError, match="small letters"):
        join(installation, api, order=order(organization="Azami_Care"))
    assert written(database) == ([], [], [])
    assert airflow.kept == {}


def test_an_airflow_that_does_not_answer_is_one_sentence(installation: Installation) -> None:
    with (
        AirflowApi("http://127.0.0.1:1", "admin", password="p") as away,
        pytest.raises(ConfigError, match="`make up` starts it") as stopped,
    ):
        join(installation, away, order=order())
    assert stopped.value.__cause__ is None
