"""The shape of a partner's records: which fields came, of which JSON types, how often. Never a value.

Read column by column, a page at a time: records with the same fields are laid side by side, and the interpreter's own
loops collect the types. Of a long listing every fourth record is looked at, or a sync would take a tenth longer.

An array's elements are one path, ``tags[]``. An object whose names look like data (dates, keys, names of people) is a
table and no record: its values are one path, ``by_day.*``, and the names are not kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import methodcaller
from typing import Any

#: Up to here all records are looked at, then every EVERYth.
ALL_OF_THE_FIRST = 20_000
EVERY = 4
#: The path of the record itself: how many were looked at.
RECORD = ""
#: Paths of one listing; what comes beyond is not looked at.
MAX_PATHS = 400
#: An object that has had more different names than this is a table.
MAX_NAMES = 60
MAX_DEPTH = 6
#: Below the record itself a name that is no plain ASCII word may be a person's.
_NAME = re.compile(r"[@#$_]?[^\W\d][\w:-]{0,59}")
_DIGITS = re.compile(r"\d{4}")
_TYPES: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
}
_values: Callable[[dict[str, Any]], Iterable[Any]] = methodcaller("values")

#: Path and JSON type.
Field = tuple[str, str]


class Shapes:
    """What the records of a listing look like; ``known`` are the paths that an earlier task has written.

    ``take`` gives what came since it was last called.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._paths = set(known)
        self._tables = {path.removesuffix(".*") for path in self._paths if path.endswith(".*")}
        self._names: dict[str, set[str]] = {}
        self._counts: Counter[Field] = Counter()
        self._dropped: set[str] = set()
        self._came = self._pages = 0

    def add(self, records: Sequence[object]) -> None:
        """Look at a page; what is no object is the mapper's matter."""
        self._pages += 1
        self._came += len(records)
        if self._came > ALL_OF_THE_FIRST:
            records = records[self._pages % EVERY :: EVERY]
        if objects := [each for each in records if each.__class__ is dict]:
            self._counts[RECORD, "object"] += len(objects)
            self._objects(objects, RECORD, 0)

    def take(self) -> tuple[Mapping[Field, int], frozenset[str]]:
        """The counts, and the objects that turned out to be tables: what was written of their names goes."""
        taken, dropped = self._counts, frozenset(self._dropped)
        self._counts, self._dropped = Counter(), set()
        return taken, dropped

    def _objects(self, objects: Sequence[Any], path: str, depth: int) -> None:
        groups = _alike(objects)
        if path and (path in self._tables or self._is_table(groups, path)):
            self._values(list(chain.from_iterable(map(_values, objects))), f"{path}.*", depth)
            return
        for names, alike in groups.items():
            columns = zip(*map(_values, alike), strict=True)
            for name, column in zip(names, columns, strict=True):
                self._values(column, f"{path}.{name}" if path else _shown(name), depth)

    def _values(self, column: Sequence[Any], path: str, depth: int) -> None:
        if path not in self._paths:
            if len(self._paths) >= MAX_PATHS:
                return
            self._paths.add(path)
        kinds = set(map(type, column))
        counts = {kinds.pop(): len(column)} if len(kinds) == 1 else Counter(map(type, column))
        for kind, count in counts.items():
            self._counts[path, _TYPES.get(kind, "string")] += count
        if depth >= MAX_DEPTH:
            return
        if dict in counts:
            self._objects(_of(dict, column, counts), path, depth + 1)
        if list in counts and (inner := list(chain.from_iterable(_of(list, column, counts)))):
            self._values(inner, f"{path}[]", depth + 1)

    def _is_table(self, groups: Iterable[tuple[str, ...]], path: str) -> bool:
        names = self._names.setdefault(path, set())
        new = set(chain.from_iterable(groups)) - names
        if all(name.isascii() and _is_name(name) for name in new) and len(names) + len(new) <= MAX_NAMES:
            names |= new
            return False
        self._tables.add(path)
        self._dropped.add(path)
        below = f"{path}."
        self._paths = {each for each in self._paths if not each.startswith(below)}
        for found in [each for each in self._counts if each[0].startswith(below)]:
            del self._counts[found]
        del self._names[path]
        return True


def _alike(objects: Sequence[Any]) -> Mapping[tuple[str, ...], Sequence[Any]]:
    """Objects by their names in their order; mostly all have the same."""
    kinds = list(map(tuple, objects))
    if len(set(kinds)) == 1:
        return {kinds[0]: objects}
    groups: dict[tuple[str, ...], list[Any]] = {}
    for names, each in zip(kinds, objects, strict=True):
        groups.setdefault(names, []).append(each)
    return groups


def _of(kind: type, column: Sequence[Any], counts: Mapping[type, int]) -> Sequence[Any]:
    return column if len(counts) == 1 else [each for each in column if each.__class__ is kind]


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _DIGITS.search(name) is None


def _shown(name: str) -> str:
    """A field of the record itself; what cannot be a field's name is kept apart without it."""
    return name if _is_name(name) else "*"
