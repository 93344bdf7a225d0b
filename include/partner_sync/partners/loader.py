"""Reads a folder of partner files. A broken file is listed with all its problems; the others run on.

Nothing here raises for a bad file: Airflow keeps import errors by file, and one raise would take every partner along.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from partner_sync.partners import master, model, parts, push
from partner_sync.partners.model import SLUG_PATTERN, Partner
from partner_sync.partners.yaml_text import Loc, Problem, YamlText, read_yaml

_SUFFIXES = (".yaml", ".yml")
#: What pydantic says in its own words without quoting what it was given.
_PLAIN = re.compile(r"[a-z_]+_type|(greater|less)_than(_equal)?|too_(short|long)|string_too_(short|long)|literal_error")


#: Keys of which a person may think that they belong here, and why they do not.
_NO_KEYS = {
    "slug": "is the file's name and does not stand in the file",
    "base_url_from": "is no key any more: the address is always that of the organization's connection; leave it out",
}


@dataclass(frozen=True)
class Directory:
    """All partners of a folder by slug, and the problems of the broken ones by slug (or file name)."""

    partners: Mapping[str, Partner]
    broken: Mapping[str, tuple[Problem, ...]]


def load_partners(folder: Path, *, only: str | None = None) -> Directory:
    """Read every ``*.yaml`` and ``*.yml`` of the folder; a folder that is not there has no partners.

    ``only``: the slug (or file name) of the one that is wanted; a task must not read 200 files for its own.
    """
    partners: dict[str, Partner] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    for slug, files in sorted(_files_by_slug(folder).items()):
        if only not in (None, slug):
            continue
        loaded = [load_partner(file) for file in files]
        problems = [p for each in loaded if not isinstance(each, Partner) for p in each]
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            problems += [Problem(file, 1, 1, f"two files have the slug {slug}: {names}; keep one") for file in files]
        if problems:
            broken[slug] = tuple(sorted(problems))
        else:
            partners.update((slug, each) for each in loaded if isinstance(each, Partner))
    return Directory(partners, broken)


def load_partner(file: Path) -> Partner | tuple[Problem, ...]:
    """Read one partner file: the partner, or everything that is wrong with the file, in the order of its lines."""
    try:
        return _load(file, file.read_bytes())
    except OSError as error:
        return (Problem(file, 1, 1, f"cannot be read ({type(error).__name__})"),)


@lru_cache(maxsize=1024)
def _load(file: Path, raw: bytes) -> Partner | tuple[Problem, ...]:
    # By what the file says now: several DAG files read one folder, and a file that is changed is read anew.
    text = read_yaml(file, raw)
    partner = _validated(text)
    if not re.fullmatch(SLUG_PATTERN, file.stem):
        text.note((), "the file's name must be a slug: a-z first, then a-z, 0-9 and _, at most 31 characters")
    if text.problems or partner is None:
        return tuple(sorted(set(text.problems)))
    return partner


def _files_by_slug(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if file.suffix in _SUFFIXES and not file.name.startswith((".", "_")):
                found[file.stem].append(file)
    return found


def _validated(text: YamlText) -> Partner | None:
    if text.data is None:
        return None
    if not isinstance(text.data, dict):
        text.note((), "must be a mapping of keys to values")
        return None
    data = dict(text.data)
    for key in _NO_KEYS.keys() & data.keys():
        text.note((key,), _NO_KEYS[key])
    slug = text.file.stem if re.fullmatch(SLUG_PATTERN, text.file.stem) else "unnamed"
    try:
        return Partner.model_validate(data | {"slug": slug})
    except ValidationError as error:
        _note_all(text, error)
        return None


def _note_all(text: YamlText, error: ValidationError) -> None:
    # What YAML itself got wrong has no value here: its absence is no second problem.
    spoilt = {(each.line, each.column) for each in text.problems}
    for detail in error.errors(include_url=False, include_input=False):
        for loc, message in _readable(detail, text):
            if text.place(loc) not in spoilt:
                text.note(loc, message)


def _readable(detail: Any, text: YamlText) -> Iterator[tuple[Loc, str]]:
    loc = _real_loc(detail["loc"], text)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "disagreement":
        for below, message in context["found"]:
            yield (*loc, *below), message
    elif kind == "missing":
        yield loc, "is missing"
    elif kind == "extra_forbidden":
        yield loc, f"is not a known key{_near(str(loc[-1]))}"
    elif kind == "value_error":
        yield loc, str(context["error"])
    elif kind.startswith("union_tag"):
        yield loc, f"must be one of {context.get('expected_tags', 'the known styles')} ({context['discriminator']})"
    elif kind == "string_pattern_mismatch":
        yield loc, f"must look like {context['pattern']}"
    else:
        yield loc, detail["msg"].replace("Input should", "should") if _PLAIN.fullmatch(kind) else "is not valid"


def _real_loc(loc: Loc, text: YamlText) -> Loc:
    """Pydantic's loc without the steps that are no key of the file (union tags, '[key]')."""
    real: Loc = ()
    for part in loc[:-1]:
        if (*real, part) in text.places:
            real = (*real, part)
    last = loc[-1:]
    known = (*real, *last) in text.places
    return (*real, *last) if known or not (last == ("[key]",) or _is_tag(last, text, real=real)) else real


def _is_tag(last: Loc, text: YamlText, *, real: Loc) -> bool:
    """Whether the last step names the chosen style of a union, not a key."""
    here: Any = text.data
    for step in real:
        here = here[step]
    return isinstance(here, dict) and (here.get("style"),) == last


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, _known_keys(), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


@cache
def _known_keys() -> tuple[str, ...]:
    modules = (model, master, push, parts)
    kinds = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    known = [each for each in kinds if issubclass(each, parts.Part)]
    return tuple({info.alias or name for kind in known for name, info in kind.model_fields.items()})
