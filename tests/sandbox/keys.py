"""The organizations' keys: made from the seed, changed on request."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

SignIn = Literal["bearer", "basic"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """How an organization signs in; ``login`` is None for bearer keys."""

    kind: SignIn
    login: str | None
    secret: str = field(repr=False)

    def header(self) -> str:
        """The value of the Authorization header."""
        if self.kind == "bearer":
            return f"Bearer {self.secret}"
        return "Basic " + base64.b64encode(f"{self.login}:{self.secret}".encode()).decode()


class Keys:
    """The key of every organization; ``turn`` counts how often it was changed."""

    def __init__(self, organizations: tuple[str, ...], *, kind: SignIn, profile: str, seed: int) -> None:
        self._kind = kind
        self._salt = f"{profile}/{seed}"
        self._keys: dict[str, Key] = {}
        self._turns = dict.fromkeys(organizations, 0)
        for organization in organizations:
            self.change(organization, 0)

    def of(self, organization: str) -> Key:
        return self._keys[organization]

    def all(self) -> dict[str, Key]:
        return dict(self._keys)

    def next_turn(self, organization: str) -> int:
        return self._turns[organization] + 1

    def change(self, organization: str, turn: int) -> None:
        self._turns[organization] = turn
        digest = hmac.digest(self._salt.encode(), f"{organization}/{turn}".encode(), hashlib.sha256)
        login = f"tsb-{organization}" if self._kind == "basic" else None
        self._keys[organization] = Key(kind=self._kind, login=login, secret=digest.hex()[:40])

    def owner(self, authorization: str | None) -> str | None:
        """The organization whose key this header carries; None for no, a malformed or a wrong key."""
        given = _credentials(authorization, self._kind)
        for organization, key in self._keys.items():
            expected = key.secret if key.login is None else f"{key.login}:{key.secret}"
            if given is not None and hmac.compare_digest(given.encode(), expected.encode()):
                return organization
        return None


def _credentials(authorization: str | None, kind: SignIn) -> str | None:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != kind:
        return None
    if kind == "bearer":
        return value
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
