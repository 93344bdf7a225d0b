"""A small client of Airflow's REST API (v2): what set-up, the demo and the tests need.

Airflow's command line takes about ten seconds a call; this takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from partner_sync.errors import ConfigError
from stack.waiting import NotInTimeError, wait_until

Json = dict[str, Any]
ENDED = frozenset({"success", "failed"})
HEALTHY_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowRefusedError(ConfigError):
    """Airflow answered with an error; ``status`` is HTTP's."""

    template = "Airflow answered {status} to {method} {path}: {detail}"
    status: int


@dataclass(frozen=True)
class AirflowConnection:
    """An entry among Airflow's connections."""

    connection_id: str
    conn_type: str
    host: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    schema: str | None = None
    extra: str | None = None

    def as_json(self) -> Json:
        values = dict(vars(self))
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class PartHealth:
    """One part of Airflow: ``healthy``, ``unhealthy`` or ``away``; the database has no heartbeat."""

    status: str
    heartbeat_at: datetime | None

    @classmethod
    def read(cls, part: str, answer: Json) -> PartHealth:
        heartbeat = answer.get(f"latest_{part}_heartbeat")
        return cls(answer.get("status") or "away", datetime.fromisoformat(heartbeat) if heartbeat else None)

    def is_healthy(self, since: datetime | None) -> bool:
        beats = since is None or self.heartbeat_at is None or self.heartbeat_at > since
        return self.status == "healthy" and beats


class AirflowApi:
    """One login at one Airflow; a context manager."""

    def __init__(self, base_url: str, login: str, *, password: str) -> None:
        self._credentials = {"username": login, "password": password}
        # The environment may name a proxy, which would not know this machine's loopback.
        # A fresh server builds the tasks' API in the same loop as all answers: seconds, and a minute when it is busy.
        self._http = httpx.Client(base_url=base_url, timeout=90, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def health(self) -> dict[str, PartHealth]:
        """Each part's health, by part; asked without a login."""
        try:
            answer = self._http.get("/api/v2/monitor/health", headers={"Authorization": ""}, timeout=5)
            parts: Json = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            parts = {}
        return {part: PartHealth.read(part, parts.get(part) or {}) for part in HEALTHY_PARTS}

    def is_healthy(self, since: datetime | None = None) -> bool:
        """Whether all parts are; with ``since``, whether each has also shown a heartbeat after that time.

        Airflow calls a part healthy for half a minute after its last heartbeat, also when it is long dead.
        """
        return all(part.is_healthy(since) for part in self.health().values())

    def wait_until_healthy(self, since: datetime | None = None, seconds: float = 180) -> None:
        """Return when all four parts are; raises NotInTimeError."""
        what = "a healthy Airflow (see the logs)"
        wait_until(lambda: self.is_healthy(since), seconds=seconds, what=what, every_seconds=0.5)

    def put_connection(self, connection: AirflowConnection) -> None:
        """Make the connection, or replace it."""
        self._put("connections", connection.connection_id, body=connection.as_json())

    def has_connection(self, connection_id: str) -> bool:
        return self._is_there(f"connections/{_part(connection_id)}")

    def change_connection(self, connection: AirflowConnection) -> None:
        """Change what is given (not None) of a connection that is there; its password stays when none is given."""
        body = connection.as_json()
        mask = [key for key in body if key != "connection_id"]
        path = f"connections/{_part(connection.connection_id)}"
        self.request("PATCH", path, params={"update_mask": mask}, json=body)

    def put_pool(self, name: str, slots: int) -> None:
        """Make the pool, or set its slots. A deferred task leaves its slot: waiting pushes must not block a tick."""
        self._put("pools", name, body={"name": name, "slots": slots, "include_deferred": False})

    def dag_ids(self) -> list[str]:
        return [dag["dag_id"] for dag in self.request("GET", "dags", params={"limit": 1000})["dags"]]

    def import_errors(self) -> list[Json]:
        found: list[Json] = self.request("GET", "importErrors")["import_errors"]
        return found

    def wait_for_dags(self, dag_ids: list[str], seconds: float = 120) -> None:
        """Return when all of them have been read from their files; raises ConfigError with what stands in the way."""
        try:
            wait_until(lambda: set(dag_ids) <= set(self.dag_ids()), seconds=seconds, what=f"{', '.join(dag_ids)}")
        except NotInTimeError as error:
            found = [f"{each['filename']}: {each['stack_trace'].strip()[-300:]}" for each in self.import_errors()]
            raise ConfigError(problem="\n".join([str(error), *found])) from None

    def unpause(self, dag_id: str, *, paused: bool = False) -> None:
        self.request("PATCH", f"dags/{_part(dag_id)}", params={"update_mask": "is_paused"}, json={"is_paused": paused})

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run without a data interval; returns its run id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.request("POST", f"dags/{_part(dag_id)}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        return self.request("GET", f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}")

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 300) -> str:
        """The state in which the run ended; raises NotInTimeError."""
        wait_until(
            lambda: self.run(dag_id, run_id)["state"] in ENDED, seconds=seconds, what=f"the run {run_id} of {dag_id}"
        )
        return str(self.run(dag_id, run_id)["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        path = f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances"
        found: list[Json] = self.request("GET", path, params={"limit": 1000})["task_instances"]
        return found

    def return_value(self, dag_id: str, run_id: str, *, task_id: str) -> Any:
        """What a task returned (its XCom ``return_value``)."""
        path = f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances/{_part(task_id)}/xcomEntries/return_value"
        return self.request("GET", path, params={"deserialize": False, "stringify": False})["value"]

    def log(self, dag_id: str, run_id: str, *, task_id: str) -> list[Json]:
        """The lines of a task's first try; an error's are under ``error_detail``."""
        path = f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances/{_part(task_id)}/logs/1"
        answer = self.request("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})
        return [line for line in answer["content"] if isinstance(line, dict)]

    def request(self, method: str, path: str, **options: Any) -> Json:
        """Call ``/api/v2/<path>``; raises AirflowRefusedError for anything but a success."""
        answer = self._send(method, path, options=options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            answer = self._send(method, path, options=options)
        if not answer.is_success:
            detail = answer.text[:300]
            raise AirflowRefusedError(status=answer.status_code, method=method, path=path, detail=detail)
        found: Json = answer.json() if answer.content else {}
        return found

    def _send(self, method: str, path: str, *, options: Json) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        return self._answer(method, f"/api/v2/{path}", **options)

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            where = f"Airflow does not answer at {self._http.base_url} ({type(error).__name__})"
            raise ConfigError(problem=f"{where}: `make status` says what runs, `make up` starts it.") from None

    def _log_in(self) -> None:
        answer = self._answer("POST", "/auth/token", json=self._credentials)
        if not answer.is_success:
            raise AirflowRefusedError(status=answer.status_code, method="POST", path="/auth/token", detail="login")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _put(self, collection: str, key: str, *, body: Json) -> None:
        path = f"{collection}/{_part(key)}"
        if self._is_there(path):
            self.request("PATCH", path, json=body)
        else:
            self.request("POST", collection, json=body)

    def _is_there(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except AirflowRefusedError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return False
        return True


def _part(text: str) -> str:
    """Text as one part of a path: run ids carry + and : signs."""
    return quote(text, safe="")
