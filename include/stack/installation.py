"""One installation: a home, its secrets and ports, where its database is, and how to reach its Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partner_sync.database import Connection, connect
from partner_sync.errors import ConfigError
from stack.address import Address
from stack.airflow_api import AirflowApi
from stack.home import CLONE, Home
from stack.leftovers import end_leftovers
from stack.logins import DATABASE
from stack.ports import LOOPBACK, choose_ports, renew_taken
from stack.postgres import Account, Cluster, folder_for
from stack.private_files import locked, read_json, write_private
from stack.progress import say
from stack.secret_store import SecretStore
from stack.settings import ApiPlace, password_of
from stack.supervisor import Supervisor

ADMIN_URL = "PARTNER_SYNC_ADMIN_URL"
PARTNERS_FOLDER = "PARTNER_SYNC_PARTNERS"
USUAL_PORTS = {"airflow": 8080, "postgres": 5433}


@dataclass(frozen=True)
class Installation:
    """What set-up commands share. ``admin_url`` names an outside server, for bootstrap and migrations only.

    ``partners`` is the folder of the partner files.
    """

    home: Home
    admin_url: str | None = None
    containers: ApiPlace | None = None
    partners: Path = CLONE / "include" / "partners"

    @classmethod
    def named_by(cls, environ: Mapping[str, str]) -> Installation:
        """The installation that PARTNER_SYNC_HOME, PARTNER_SYNC_ADMIN_URL and PARTNER_SYNC_PARTNERS name."""
        named = environ.get(PARTNERS_FOLDER)
        partners = Path(named).expanduser().resolve() if named else cls.partners
        return cls(Home.named_by(environ), environ.get(ADMIN_URL) or None, partners=partners)

    @property
    def secret_store(self) -> SecretStore:
        return SecretStore(self.home.secrets_file)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.home)

    def port(self, name: str, usual: int | None = None) -> int:
        """The remembered port of a server; chosen the first time."""
        return choose_ports(self.home.ports_file, {name: usual or USUAL_PORTS[name]})[name]

    @property
    def api_place(self) -> ApiPlace:
        """On loopback, unless the installation lies in containers."""
        if self.containers is not None:
            return self.containers
        port = self.port("airflow")
        return ApiPlace(f"http://{LOOPBACK}:{port}", port=port)

    @property
    def airflow_url(self) -> str:
        """The address of the UI, for people."""
        return self.api_place.people_url or self.api_place.url

    @property
    def cluster(self) -> Cluster:
        """The embedded server; not used with an outside one."""
        account = Account.usable()
        folder = folder_for(self.home, account)
        return Cluster(folder, self.port("postgres"), self.secret_store.get("postgres_admin"), account, say=say)

    @property
    def address(self) -> Address:
        """Where the database is, as the last ``make up`` left it; raises ConfigError before the first."""
        known = self.remembered("address")
        if known is None:
            raise ConfigError(problem="Nothing is set up here yet: run `make up` first.")
        return Address(**known)

    def api(self, login: str = "admin") -> AirflowApi:
        return AirflowApi(self.api_place.url, login, password=password_of(self.secret_store, login))

    def connect(self, writer: str) -> Connection:
        """A connection to the sync database as one of its logins."""
        return connect(self.address.url(writer, self.secret_store.get(writer), database=DATABASE))

    def remembered(self, key: str) -> Any:
        return read_json(self.home.state_file).get(key)

    def remember(self, key: str, value: Any) -> None:
        """Keep a fact for later runs."""
        with locked(self.home.state_file):
            facts = read_json(self.home.state_file) | {key: value}
            write_private(self.home.state_file, json.dumps(facts, indent=1))

    def clear_ground(self) -> None:
        """Before a start: end what a dead supervisor left behind, and leave ports that somebody else took meanwhile."""
        if self.supervisor.phase() != "away":
            return
        self._end_leftovers()
        for name, port in renew_taken(self.home.ports_file).items():
            say(f"The port of {name} is taken by another program; it is {port} now.")

    def stop(self) -> bool:
        """End everything that this installation started; False when there was nothing."""
        stopped = self.supervisor.shutdown()
        left = self._end_leftovers()
        self.supervisor.pid_file.unlink(missing_ok=True)
        return stopped or left > 0

    def _end_leftovers(self) -> int:
        return end_leftovers(self.supervisor.mark, folder_for(self.home, Account.usable()) / "data")
