"""The section ``master`` of a partner file: what is read, from where, and how it becomes canonical."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from partner_sync.partners import fields
from partner_sync.partners.fields import Entity
from partner_sync.partners.parts import (
    Condition,
    Cron,
    Disagreement,
    DottedPath,
    InField,
    Parameters,
    Part,
    PathTemplate,
    Text,
    ZoneName,
    near,
    refuse,
)

_CONVERTERS_OF: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "code_map", "kana", "digits", "split_name", "postal_code", "phone", "constant"}),
    "date": frozenset({"date"}),
    "boolean": frozenset({"boolean", "constant"}),
    "reference": frozenset({"text", "digits", "constant"}),
}


class _Paging(Part):
    """``size`` is the parameter that asks for ``size_value`` records; ``total_at`` is where the answer has the sum."""

    size: Text | None = None
    size_value: PositiveInt | None = None
    total_at: DottedPath | None = None

    @model_validator(mode="after")
    def _size_pair(self) -> _Paging:
        if (self.size is None) != (self.size_value is None):
            raise ValueError("`size` and `size_value` belong together")
        return self


class PageNumberPaging(_Paging):
    """Numbered pages, up to the last page that the body names, or until an empty or short page."""

    style: Literal["page_number"]
    page: Text = "page"
    first: int = Field(default=1, ge=0, le=1)
    last_at: DottedPath | None = None


class LinkHeaderPaging(_Paging):
    """The header ``Link`` with ``rel="next"`` (RFC 8288), at the configured origin only."""

    style: Literal["link_header"]


class OffsetTotalPaging(_Paging):
    """An offset that grows by the records received, until the total of the body is reached."""

    style: Literal["offset_total"]
    offset: Text = "offset"
    total_at: DottedPath


class CursorPaging(_Paging):
    """A token at ``next_at`` of the body, sent back as the parameter ``cursor``; empty or absent at the end."""

    style: Literal["cursor"]
    cursor: Text = "cursor"
    next_at: DottedPath


class UntilEmptyPaging(_Paging):
    """Numbered pages until an empty one; a short page is not the end."""

    style: Literal["until_empty"]
    page: Text = "page"
    first: int = Field(default=1, ge=0, le=1)


Paging = Annotated[
    PageNumberPaging | LinkHeaderPaging | OffsetTotalPaging | CursorPaging | UntilEmptyPaging,
    Field(discriminator="style"),
]


class Incremental(Part):
    """How only the changed records are asked for.

    ``field`` is where a record says when it changed; ``overlap_seconds`` is taken off the watermark by the merge;
    ``zone`` reads times without an offset and is the offset that the parameter is written in (default UTC).
    """

    parameter: Text
    field: DottedPath
    overlap_seconds: int = Field(default=120, ge=0, le=7 * 86_400)
    zone: ZoneName | None = None


class MasterEntity(Part):
    """One entity: where its pages are, and how a record becomes canonical.

    ``most_records`` is how many the partner lists at most, if it cuts a listing off there.
    ``fresh_within_hours`` is how old the newest source time may be; 0: however old.
    """

    path: PathTemplate
    parameters: Parameters = Field(default_factory=dict)
    records_at: DottedPath | None = None
    paging: Paging
    incremental: Incremental | None = None
    key: DottedPath
    deleted_when: Condition | None = None
    map: Annotated[Mapping[str, InField], Field(min_length=1)]
    most_records: PositiveInt | None = None
    fresh_within_hours: NonNegativeInt | None = None
    extra: Annotated[tuple[DottedPath, ...], Field(strict=False)] = ()
    match_by: Annotated[tuple[Text, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _no_key_in_path(self) -> MasterEntity:
        if "{" in self.path:
            raise ValueError("`path` of a list takes no {key}")
        if missing := [name for name in self.match_by if name not in self.map]:
            msg = f"`match_by` names {', '.join(missing)}, which `map` does not fill"
            raise ValueError(msg)
        return self


def _disagreements(entity: Entity, section: MasterEntity) -> list[Disagreement]:
    found: list[Disagreement] = []
    for name, mapped in section.map.items():
        field = fields.field(entity, name)
        if field is None:
            known = ", ".join(each.name for each in fields.CANONICAL[entity])
            text = f"is not a canonical field{near(name, known.split(', '))}; known are {known}"
            found.append(((entity, "map", name), text))
        elif mapped.convert not in _CONVERTERS_OF[field.type]:
            text = f"the converter {mapped.convert} does not give a {field.type}"
            found.append(((entity, "map", name), text))
    return found


def _of_entities(entities: Mapping[Entity, MasterEntity]) -> Mapping[Entity, MasterEntity]:
    refuse([found for name, entity in entities.items() for found in _disagreements(name, entity)])
    return entities


class Master(Part):
    """Master data in. ``schedule`` is a cron text in Asia/Tokyo; without one it runs by hand only.

    ``validation``: ``shared`` waits for the one process that judges all that is due, ``own`` judges in its own task.
    """

    schedule: Cron | None = None
    validation: Literal["own", "shared"] = "own"
    entities: Annotated[Mapping[Entity, MasterEntity], Field(min_length=1), AfterValidator(_of_entities)]
