"""Passwords and keys: made once, kept as JSON with mode 0600, outside git."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stack.private_files import locked, read_json, write_private


def random_password() -> str:
    """192 random bits in letters that no URL, shell or INI file has to quote."""
    return secrets.token_hex(24)


@dataclass(frozen=True)
class SecretStore:
    """The secrets of one home."""

    path: Path

    def get(self, name: str, make: Callable[[], str] = random_password) -> str:
        """The secret called ``name``; made by ``make`` the first time it is asked for."""
        with locked(self.path):
            known = read_json(self.path)
            if name not in known:
                known[name] = make()
                write_private(self.path, json.dumps(known, indent=1, sort_keys=True))
        found: str = known[name]
        return found
