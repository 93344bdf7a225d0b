"""The control calls as typed methods, for tests and for the demo."""

from __future__ import annotations

from typing import Any

import httpx

from sandbox.faults import Fault, FaultKind
from sandbox.keys import Key
from sandbox.settings import Limit, SayScope

# Plain HTTP on loopback: no proxy of the environment, and no loading of certificates, which takes longer than a call.
LOOPBACK: dict[str, Any] = {"trust_env": False, "verify": False}


class ControlClient:
    """Speaks to /practice/ of a running partner; raises httpx.HTTPStatusError when a control call is refused."""

    def __init__(self, base_url: str, control_token: str) -> None:
        self.base_url = base_url
        self.control_token = control_token
        self._client = httpx.Client(
            base_url=f"{base_url}/practice", headers={"X-Practice-Token": control_token}, timeout=10, **LOOPBACK
        )

    def close(self) -> None:
        self._client.close()

    def keys(self) -> dict[str, Key]:
        return {name: Key(**key) for name, key in self._asked("GET", "/keys").items()}

    def key(self, organization: str) -> Key:
        return self.keys()[organization]

    def change_key(self, organization: str) -> Key:
        """The partner changes this key: the old one is wrong from now on."""
        return Key(**self._asked("POST", f"/keys/{organization}"))

    def received(
        self,
        organization: str | None = None,
        *,
        method: str | None = None,
        template: str | None = None,
        after: int = 0,
    ) -> list[dict[str, Any]]:
        """The calls that arrived, in order, as README lists their fields."""
        wanted = {"organization": organization, "method": method, "template": template, "after": after}
        parameters = {name: value for name, value in wanted.items() if value is not None}
        calls: list[dict[str, Any]] = self._asked("GET", "/received", params=parameters)["calls"]
        return calls

    def visits(self, organization: str | None = None) -> list[dict[str, Any]]:
        """The visits that are held: organization, key, external_id, version, week, received_at, body."""
        parameters = {} if organization is None else {"organization": organization}
        held: list[dict[str, Any]] = self._asked("GET", "/visits", params=parameters)["visits"]
        return held

    def duplicates(self) -> list[dict[str, Any]]:
        again: list[dict[str, Any]] = self._asked("GET", "/duplicates")["duplicates"]
        return again

    def dirty(self, organization: str) -> dict[str, list[str]]:
        """The keys of the dirty patients by kind."""
        kinds = self._asked("GET", "/dirty")[organization]
        return {kind: facts["keys"] for kind, facts in kinds.items()}

    def summary(self) -> dict[str, dict[str, Any]]:
        counts: dict[str, dict[str, Any]] = self._asked("GET", "/summary")
        return counts

    def settings(self) -> dict[str, Any]:
        now: dict[str, Any] = self._asked("GET", "/settings")
        return now

    def resize(self, **sizes: float) -> None:
        """``offices``, ``practitioners``, ``patients``, ``dirty_share``: the people are made anew."""
        self._asked("PUT", "/settings", json=sizes)

    def limit(
        self, requests: int, *, per_seconds: float, say_scope: SayScope | None = None, fields: bool | None = None
    ) -> None:
        """Another limit, which starts counting anew; ``fields`` switches the RateLimit header fields."""
        changes: dict[str, Any] = {"limit": Limit(requests=requests, per_seconds=per_seconds).model_dump()}
        if say_scope is not None:
            changes["say_scope"] = say_scope
        if fields is not None:
            changes["rate_limit_fields"] = fields
        self._asked("PUT", "/settings", json=changes)

    def change_patients(
        self, organization: str, count: int | None = None, *, keys: list[str] | None = None
    ) -> list[str]:
        """New street and phone for these patients, or the first ``count`` clean ones; answers their keys."""
        return self._patients("change", organization, count, keys)

    def delete_patients(
        self, organization: str, count: int | None = None, *, keys: list[str] | None = None
    ) -> list[str]:
        return self._patients("delete", organization, count, keys)

    def add_office(self, organization: str) -> str:
        """The office that dirty patients name comes after all; answers its key."""
        key: str = self._asked("POST", "/offices/add", json={"organization": organization})["key"]
        return key

    def fault(self, kind: FaultKind, **values: Any) -> int:
        """Switch a fault on; values are the fields of ``sandbox.faults.Fault``. Answers its id."""
        fault = Fault(kind=kind, **values)
        number: int = self._asked("POST", "/faults", json=fault.model_dump())["id"]
        return number

    def faults(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._asked("GET", "/faults")["faults"]
        return listed

    def remove_fault(self, number: int) -> None:
        self._asked("DELETE", f"/faults/{number}")

    def clear_faults(self) -> None:
        self._asked("DELETE", "/faults")

    def reset(self) -> None:
        """Back to the start: no visits, counts, faults or changes."""
        self._asked("POST", "/reset")

    def _patients(self, verb: str, organization: str, count: int | None, keys: list[str] | None) -> list[str]:
        choice = {"organization": organization, "count": count, "keys": keys}
        chosen: list[str] = self._asked("POST", f"/patients/{verb}", json=choice)["keys"]
        return chosen

    def _asked(self, method: str, path: str, **values: Any) -> Any:
        answer = self._client.request(method, path, **values)
        answer.raise_for_status()
        return answer.json()
