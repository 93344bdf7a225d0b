"""Switches for faults: which calls go wrong, how, and how often."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "status", "rate_storm", "redirect", "hang_before", "hang_after", "drop_before", "drop_after", "cut_body",
    "not_json", "html", "error_200", "empty_page", "repeated_page", "loop_page",
    "record_not_object", "missing_key", "number_for_text", "long_text", "nul", "wrong_date",
]  # fmt: skip


class Fault(BaseModel):
    """One switch; fields that say nothing fit every call. ``times`` None is for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    times: int | None = Field(default=None, ge=1)
    skip: int = Field(default=0, ge=0)
    method: str | None = None
    path: str | None = None
    organization: str | None = None
    status: int = Field(default=500, ge=400, le=599)
    retry_after_seconds: int | None = Field(default=None, ge=0)
    scope: str | None = None
    seconds: float = Field(default=1.0, ge=0)
    records: int = Field(default=1, ge=1)
    megabytes: float = Field(default=10.0, gt=0)
    to: str = "http://127.0.0.1:9/elsewhere"

    def fits(self, method: str, path: str, organization: str | None) -> bool:
        return (
            self.method in {None, method}
            and (self.path is None or fnmatchcase(path, self.path))
            and self.organization in {None, organization}
        )


class _Switch:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.used = 0

    def take(self) -> bool:
        """Whether the fault strikes this fitting call."""
        self.seen += 1
        if self.seen <= self.fault.skip or (self.fault.times is not None and self.used >= self.fault.times):
            return False
        self.used += 1
        return True


class Faults:
    """The switches that are on, in the order in which they were added."""

    def __init__(self) -> None:
        self._switches: dict[int, _Switch] = {}
        self._last = 0

    def add(self, fault: Fault) -> int:
        self._last += 1
        self._switches[self._last] = _Switch(fault)
        return self._last

    def remove(self, number: int) -> bool:
        return self._switches.pop(number, None) is not None

    def clear(self) -> None:
        self._switches.clear()

    def take(self, method: str, path: str, organization: str | None) -> Fault | None:
        """The fault that strikes this call, if any; it is used up by one."""
        for switch in self._switches.values():
            if switch.fault.fits(method, path, organization) and switch.take():
                return switch.fault
        return None

    def listed(self) -> list[dict[str, object]]:
        return [
            {"id": number, "used": switch.used, **switch.fault.model_dump()}
            for number, switch in self._switches.items()
        ]
