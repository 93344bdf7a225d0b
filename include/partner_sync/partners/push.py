"""The section ``push`` of a partner file: how a visit is sent, taken away and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from partner_sync.partners.fields import VISIT_FIELDS
from partner_sync.partners.master import Paging
from partner_sync.partners.parts import (
    Condition,
    Cron,
    Disagreement,
    DottedPath,
    HeaderName,
    OutField,
    Part,
    PathTemplate,
    Text,
    refuse,
)

_TYPES_OF = {"text": "text", "code_map": "text", "date": "date", "datetime": "datetime"}


class Call(Part):
    """One call that changes something. ``{key}`` is our visit id, ``{ref}`` the partner's own name for the visit.

    A success must have one of ``accepted_status`` (default: any 2xx) and a value at ``accepted_at``, when these are
    given: some partners answer 200 with an error in the body. A success that has not is an unknown outcome.
    """

    method: Literal["PUT", "POST", "PATCH", "DELETE"]
    path: PathTemplate
    idempotency_header: HeaderName | None = None
    send_body: bool | None = None
    accepted_status: Annotated[tuple[int, ...], Field(strict=False)] = ()
    accepted_at: DottedPath | None = None

    @property
    def has_body(self) -> bool:
        return self.method != "DELETE" if self.send_body is None else self.send_body

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class ReadBack(Part):
    """How a visit is read back: by its own path (``{key}``, ``{ref}``), or by a search that gives a list.

    ``parameters`` are the partner's parameter names with the visit's values they carry; a list means equal names.
    ``record_at`` is where one visit is in the answer; ``records_at`` makes the answer a list, in which our visit is the
    record whose value at ``key_at`` is our visit id. ``ref_at`` is where a record has the partner's own name;
    ``absent_when`` says which records count as taken away.
    """

    path: PathTemplate
    parameters: Mapping[Text, Text] = Field(default_factory=dict)
    record_at: DottedPath | None = None
    records_at: DottedPath | None = None
    key_at: DottedPath | None = None
    ref_at: DottedPath | None = None
    paging: Paging | None = None
    absent_when: Condition | None = None

    @field_validator("parameters", mode="before")
    @classmethod
    def _names_alone(cls, data: Any) -> Any:
        if isinstance(data, list) and all(isinstance(name, str) for name in data):
            return {name: name for name in data}
        return data

    @model_validator(mode="after")
    def _one_shape(self) -> ReadBack:
        if self.records_at is not None and self.key_at is None:
            raise ValueError("a list (`records_at`) needs `key_at`, to find our visit in it")
        if self.records_at is None and (self.paging or self.key_at):
            raise ValueError("`paging` and `key_at` belong to a list (`records_at`)")
        for value in self.parameters.values():
            if value not in VISIT_FIELDS:
                msg = f"`parameters` may carry {', '.join(VISIT_FIELDS)}"
                raise ValueError(msg)
        return self

    @property
    def endpoint(self) -> str:
        return f"GET {self.path}"


class FieldErrors(Part):
    """Where a refusal lists its complaints: a list at ``at``, with the field's name and a code in each."""

    at: DottedPath
    field: DottedPath
    code: DottedPath | None = None


class Push(Part):
    """Schedules out. ``schedule`` is a cron text in Asia/Tokyo; ``live`` is the tick of each minute; with ``watch``
    a change, a finalized week or a release also starts it at once.

    Without ``post``, ``put`` creates and changes. With it, a visit that the partner has not named yet goes by
    ``post``, and ``partner_ref`` is where the answer names it.
    """

    schedule: Cron | None = None
    live: bool = True
    watch: bool = False
    put: Call
    post: Call | None = None
    withdraw: Call
    read_back: ReadBack | None = None
    map: Annotated[Mapping[DottedPath, OutField], Field(min_length=1)]
    partner_ref: DottedPath | None = None
    errors: FieldErrors | None = None
    max_attempts: PositiveInt = Field(default=8, le=50)

    @model_validator(mode="after")
    def _watches_what_is_live(self) -> Push:
        if self.watch and not self.live:
            raise ValueError("`watch` starts the run of `live` earlier: it needs `live: true`")
        return self

    @model_validator(mode="after")
    def _refs_can_be_known(self) -> Push:
        calls = [self.put, self.withdraw, *([self.post] if self.post else [])]
        uses_ref = any("{ref}" in call.path for call in calls)
        if (uses_ref or self.post) and self.partner_ref is None:
            raise ValueError("`{ref}` or `post` needs `partner_ref`: where the answer names the visit")
        if "{ref}" in self.put.path and self.post is None:
            raise ValueError("`put` by {ref} needs `post`, which creates the visit")
        if self.post and "{ref}" in self.post.path:
            raise ValueError("`post` cannot use {ref}: the visit has none yet")
        if self.read_back and "{ref}" in self.read_back.path:
            raise ValueError(
                "`read_back` by {ref} cannot find a visit whose first answer was lost: use {key} or a search"
            )
        return self

    @model_validator(mode="after")
    def _fields_are_canonical(self) -> Push:
        refuse([found for target, mapped in self.map.items() for found in _disagreements(target, mapped)])
        return self


def _disagreements(target: str, mapped: OutField) -> list[Disagreement]:
    if mapped.source is None:
        return []
    where = ("map", target)
    given = VISIT_FIELDS.get(mapped.source)
    if given is None:
        return [(where, f"is not a field of a visit; known are {', '.join(VISIT_FIELDS)}")]
    wanted = _TYPES_OF[mapped.convert]
    fits = given == wanted or (given == "datetime" and wanted == "date")
    return [] if fits else [(where, f"the converter {mapped.convert} does not take a {given}")]
