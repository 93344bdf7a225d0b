"""Where the database is, without anybody's password: what run-time logins are joined to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import conninfo

from stack.ports import LOOPBACK

#: libpq's parameters that belong to the admin or to one session, not to the place.
_PERSONAL = {"user", "password", "passfile", "dbname", "host", "port", "options", "application_name"}


@dataclass(frozen=True)
class Address:
    """One PostgreSQL server; ``options`` are libpq's (sslmode, ...)."""

    host: str = LOOPBACK
    port: int = 5432
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, admin_url: str) -> Address:
        """The place that an admin's URL names; the admin's login and password are left out."""
        facts = {key: str(value) for key, value in conninfo.conninfo_to_dict(admin_url).items()}
        options = {key: value for key, value in facts.items() if key not in _PERSONAL}
        return cls(host=facts.get("host", LOOPBACK), port=int(facts.get("port", 5432)), options=options)

    def url(self, login: str, password: str, *, database: str) -> str:
        """A libpq URL for one login."""
        return self._url("postgresql", login, password=password, database=database, options=self.options)

    def airflow_urls(self, login: str, password: str, *, database: str) -> tuple[str, str]:
        """The URLs of Airflow's metadata for psycopg2 and for asyncpg, which calls sslmode ``ssl``."""
        renamed = {"ssl" if key == "sslmode" else key: value for key, value in self.options.items()}
        return (
            self._url("postgresql+psycopg2", login, password=password, database=database, options=self.options),
            self._url("postgresql+asyncpg", login, password=password, database=database, options=renamed),
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def _url(self, scheme: str, login: str, *, password: str, database: str, options: dict[str, str]) -> str:
        person = f"{quote(login, safe='')}:{quote(password, safe='')}"
        if self.host.startswith("/"):
            return f"{scheme}://{person}@/{database}?" + urlencode({"host": self.host, "port": self.port, **options})
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{person}@{host}:{self.port}/{database}" + (f"?{urlencode(options)}" if options else "")
