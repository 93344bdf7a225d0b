"""Reads a folder of partner files. A broken file is listed with all its problems; the others run on.

Nothing here raises for a bad file: Airflow keeps import errors by file, and one raise would take every partner along.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from partner_sync.partners.mistakes import checked
from partner_sync.partners.model import SLUG_PATTERN, Partner
from partner_sync.partners.yaml_text import Problem, YamlText, read_yaml

_SUFFIXES = (".yaml", ".yml")
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
    for key in _NO_KEYS.keys() & text.data.keys():
        text.note((key,), _NO_KEYS[key])
    slug = text.file.stem if re.fullmatch(SLUG_PATTERN, text.file.stem) else "unnamed"
    return checked(text, slug=slug)
