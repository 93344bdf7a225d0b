"""Which keys a section of a partner file may have, read off the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from partner_sync.partners import master, model, parts, push, visits_list
from partner_sync.partners.model import Partner
from partner_sync.partners.parts import Part
from partner_sync.partners.yaml_text import Loc


@cache
def known_keys() -> tuple[str, ...]:
    """Every key that stands in any section."""
    modules = (model, master, push, parts, visits_list)
    kinds = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return tuple({name for kind in kinds if issubclass(kind, Part) for name in _fields(kind)})


def keys_at(loc: Loc, data: object) -> tuple[str, ...]:
    """The keys that the section at ``loc`` of ``data`` may have; of a section with styles, those of its style."""
    kinds: list[Any] = [Partner]
    here: Any = data
    for step in loc:
        kinds = [below for kind in kinds for below in _below(kind, step)]
        here = _inside(here, step)
    sections = [kind for kind in kinds if _is_section(kind)]
    style = here.get("style") if isinstance(here, dict) else None
    chosen = [kind for kind in sections if "style" in _fields(kind) and style in get_args(_fields(kind)["style"])]
    return tuple(dict.fromkeys(name for kind in chosen or sections for name in _fields(kind)))


def _inside(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def _fields(kind: type[Part]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in kind.model_fields.items() if name != "slug"}


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Part)


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    if _is_section(kind):
        yield from _alternatives(_fields(kind).get(str(step)))
    elif get_origin(kind) is Mapping:
        yield from _alternatives(get_args(kind)[1])
    elif get_origin(kind) is tuple:
        yield from _alternatives(get_args(kind)[0])


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation
