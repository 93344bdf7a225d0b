"""Where data, keys and logs lie: PARTNER_SYNC_HOME, or ``.run`` in the clone (mode 0700)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """One installation's private folder."""

    path: Path

    @classmethod
    def named_by(cls, environ: Mapping[str, str]) -> Home:
        """The home that the environment names, made when it is not there."""
        home = cls(Path(environ.get("PARTNER_SYNC_HOME") or CLONE / ".run").expanduser().resolve())
        home.make()
        return home

    def make(self) -> None:
        """Make the folder with mode 0700; the mode of a folder above it is never changed."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.logs.mkdir(exist_ok=True)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def airflow(self) -> Path:
        return self.path / "airflow"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' own pages, one folder a partner."""
        return self.path / "data-docs"

    @property
    def logins_file(self) -> Path:
        """Passwords of Airflow's simple auth manager."""
        return self.path / "logins.json"

    @property
    def environment_file(self) -> Path:
        """What the servers' processes find in their environment; it holds secrets."""
        return self.path / "environment.json"

    @property
    def state_file(self) -> Path:
        """What earlier runs found out, so that later ones are quick; it can be removed at any time."""
        return self.path / "state.json"

    @property
    def ports_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    @property
    def beside(self) -> Path:
        """A folder next to the home, for files of a user who may not look into the home."""
        return self.path.with_name(f"{self.path.name}-postgres")

    @property
    def far(self) -> Path:
        """The same where that user cannot even reach the clone: named after the home, so that clones never share it."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path("/var/lib/partner-sync") / f"{self.path.parent.name}-{digest}"
