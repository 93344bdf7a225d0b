"""A JSON-lines journal: what the partner accepted outlives its process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


class Journal:
    """Events in the order in which they happened; without a file nothing is kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._descriptor: int | None = None

    def events(self) -> Iterator[dict[str, Any]]:
        """The whole events of earlier processes. A last line without its end was never acknowledged: it is cut off."""
        if self._file is None or not self._file.exists():
            return
        content = self._file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._file, len(whole))
        for line in whole.splitlines():
            yield orjson.loads(line)

    def add(self, event: dict[str, Any]) -> None:
        """Append one event; it has reached the operating system on return, so a killed process keeps it."""
        if self._file is None:
            return
        if self._descriptor is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._descriptor, orjson.dumps(event) + b"\n")

    def clear(self) -> None:
        self.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
