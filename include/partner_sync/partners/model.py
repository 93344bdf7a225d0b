"""A partner file as frozen models: what may stand in it, and what must agree (reference: docs/partner-file.md).

Light on purpose: it is read each time that Airflow parses the DAG folder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from partner_sync.partners.fields import Entity
from partner_sync.partners.master import Master, MasterEntity
from partner_sync.partners.parts import Disagreement, DottedPath, HeaderName, Part, Text, ZoneName, refuse
from partner_sync.partners.push import Push

#: The stem of a partner file: used unchanged in DAG ids, pools, tags and staging partitions.
SLUG_PATTERN = r"^[a-z][a-z0-9_]{1,30}$"


class Name(Part):
    """The partner's name, for people."""

    ja: Text
    en: Text


class Owner(Part):
    """Whose turn it is when the partner's file or server needs somebody."""

    team: Text
    alert: Text | None = None


class BearerAuth(Part):
    """``Authorization: Bearer <password of the connection>``."""

    style: Literal["bearer"]


class BasicAuth(Part):
    """HTTP basic with the connection's login and password."""

    style: Literal["basic"]


class ApiKeyAuth(Part):
    """The connection's password in the header ``header``."""

    style: Literal["api_key"]
    header: HeaderName = "X-API-Key"


Auth = Annotated[BearerAuth | BasicAuth | ApiKeyAuth, Field(discriminator="style")]


class Timeouts(Part):
    """``connect_seconds`` bounds connecting, ``read_seconds`` each silence, both together the whole call.

    ``settle_after_seconds``: how long after a lost answer the partner may still be working on the call.
    """

    connect_seconds: float = Field(default=5.0, gt=0, le=60)
    read_seconds: float = Field(default=30.0, gt=0, le=600)
    settle_after_seconds: float = Field(default=90.0, gt=0, le=3600)

    @property
    def call_seconds(self) -> float:
        """The longest that a call can take, from its departure until its answer is read."""
        return self.connect_seconds + self.read_seconds

    @model_validator(mode="after")
    def _settles_after_the_timeout(self) -> Timeouts:
        if self.settle_after_seconds < self.call_seconds:
            raise ValueError("`settle_after_seconds` must be at least `connect_seconds` and `read_seconds` together")
        return self


class Limit(Part):
    """How many calls the partner allows, for whom, and how it counts them (design, 6).

    ``endpoint`` (scope endpoint): method and path as in this file. ``zone`` and ``anchor`` (fixed_window): windows are
    counted from ``anchor`` (HH:MM) of the day in that zone. ``burst`` (token_bucket): the size of the bucket.
    ``in_flight``: ``requests`` is the most calls at once, and there is no ``per_seconds``.
    """

    scope: Literal["organization", "vendor", "office", "endpoint"]
    requests: PositiveInt
    per_seconds: PositiveFloat | None = None
    counts: Literal["sliding_window", "fixed_window", "token_bucket", "spaced", "in_flight"] = "sliding_window"
    zone: ZoneName | None = None
    anchor: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    burst: PositiveInt | None = None
    endpoint: Text | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Limit:
        if (self.scope == "endpoint") != (self.endpoint is not None):
            raise ValueError("`endpoint` belongs to the scope endpoint")
        if (self.counts == "in_flight") != (self.per_seconds is None):
            raise ValueError("every limit but in_flight needs `per_seconds`, and in_flight takes none")
        if self.counts != "fixed_window" and (self.zone or self.anchor):
            raise ValueError("`zone` and `anchor` belong to fixed_window")
        if self.counts != "token_bucket" and self.burst:
            raise ValueError("`burst` belongs to token_bucket")
        return self


class Circuit(Part):
    """When calls that fail stop the others: ``failures`` in a row the organization's own, calls of ``organizations``
    organizations the whole partner's. ``open_seconds``: how long at first; twice as long each time in a row.
    """

    failures: PositiveInt = Field(default=10, le=1000)
    # Not less: calls that get through are told every 5 seconds (circuit.py), also the one that closes a circuit.
    open_seconds: float = Field(default=30.0, ge=5, le=3600)
    longest_open_seconds: float = Field(default=600.0, ge=5, le=86400)
    organizations: int = Field(default=3, ge=2, le=1000)

    @model_validator(mode="after")
    def _opens_for_longer_not_shorter(self) -> Circuit:
        if self.longest_open_seconds < self.open_seconds:
            raise ValueError("`longest_open_seconds` must be at least `open_seconds`")
        return self


class Partner(Part):
    """One partner, as its file says. ``slug`` is the file's stem and does not stand in the file.

    ``characters``: what the partner can hold of what we send; cp932 is that of Shift-JIS files (MS932).
    """

    slug: Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
    name: Name
    owner: Owner
    kind: Literal["rest_json"]
    auth: Auth
    timeouts: Timeouts = Field(default_factory=Timeouts)
    limits: Annotated[tuple[Limit, ...], Field(strict=False, min_length=1)]
    limit_scope_at: DottedPath | None = None
    characters: Literal["unicode", "cp932"] = "unicode"
    jitter_seconds: float = Field(default=0.2, ge=0, le=10)
    grant_ttl_seconds: float = Field(default=10.0, gt=0, le=300)
    circuit: Circuit = Field(default_factory=Circuit)
    concurrency: PositiveInt = Field(default=4, le=64)
    shards: PositiveInt = Field(default=2, le=16)
    master: Master | None = None
    push: Push | None = None

    @model_validator(mode="after")
    def _has_a_direction(self) -> Partner:
        if self.master is None and self.push is None:
            raise ValueError("needs `master`, `push` or both")
        return self

    @model_validator(mode="after")
    def _agrees(self) -> Partner:
        found: list[Disagreement] = []
        if self.grant_ttl_seconds < self.timeouts.connect_seconds:
            text = "must be at least `connect_seconds`: a call departs within its grant"
            found.append((("grant_ttl_seconds",), text))
        text = f"must be one of {', '.join(self.endpoints)}"
        named = [(at, limit.endpoint) for at, limit in enumerate(self.limits) if limit.endpoint is not None]
        refuse([*found, *((("limits", at, "endpoint"), text) for at, name in named if name not in self.endpoints)])
        return self

    def listing_of(self, entity: Entity) -> MasterEntity:
        """What the file says about an entity's records; KeyError when it says nothing."""
        if self.master is None:
            raise KeyError(entity)
        return self.master.entities[entity]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint that may be called, as method and path template."""
        found: dict[str, None] = {}
        if self.master is not None:
            found |= {f"GET {entity.path}": None for entity in self.master.entities.values()}
        if self.push is not None:
            found |= dict.fromkeys(self.push.endpoints)
        return tuple(found)


__all__ = ["SLUG_PATTERN", "Auth", "Circuit", "Limit", "Name", "Owner", "Partner", "Timeouts"]
