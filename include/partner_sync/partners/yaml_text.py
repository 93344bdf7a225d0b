"""YAML of a partner file as plain data with the place of every key, and what YAML 1.1 would silently bend.

``NO``, ``on`` or ``18:00`` become a boolean or a number in YAML 1.1; here each is a problem that says to use quotes.
Aliases, merge keys and tags are refused: a partner file holds values only (design, 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Loc = tuple[str | int, ...]

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES = 256 * 1024
_RESOLVER: Any = yaml.resolver.Resolver()
_TAG = "tag:yaml.org,2002:"
_STR, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_MAX_DEPTH = 20
_ALIAS = "aliases (*name) are not used in partner files: write the value again"
_QUOTES = "put it in quotes: YAML reads it as something other than the text that stands there"
_SECRET_KEY = re.compile(r"secret|passw|credential|api_?key|private_?key|access_?token|bearer|authorization", re.I)
_SECRET_VALUE = re.compile(r"^(bearer|basic)\s+\S{8,}|^eyJ[\w-]{10,}\.|-----BEGIN|://[^/\s]+:[^/\s]+@", re.I)


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong in a partner file; ``line`` and ``column`` count from 1."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}:{self.column}: {self.message}"


@dataclass
class YamlText:
    """A file's data, the place (line, column) of every key, and the problems met on the way."""

    file: Path
    data: Any = None
    places: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def note(self, loc: Loc, message: str) -> None:
        """Note a problem at the nearest place that is known for ``loc``."""
        name = ".".join(str(part) for part in loc)
        line, column = self.place(loc)
        self.problems.append(Problem(self.file, line, column, f"{name}: {message}" if name else message))

    def place(self, loc: Loc) -> tuple[int, int]:
        for length in range(len(loc), -1, -1):
            if found := self.places.get(loc[:length]):
                return found
        return (1, 1)


def read_yaml(file: Path, raw: bytes) -> YamlText:
    """Read what a file holds; whatever is wrong with it is in ``problems``, never raised."""
    text = YamlText(file)
    if len(raw) > _MAX_BYTES:
        text.note((), f"is larger than {_MAX_BYTES // 1024} KB")
        return text
    try:
        text.data = _Builder(text, raw.decode("utf-8")).build()
    except UnicodeDecodeError:
        text.note((), "is not UTF-8 text")
    except _TooDeepError:
        return _only(Problem(file, 1, 1, "is nested too deeply"))
    except yaml.YAMLError as error:
        return _only(_syntax(file, error))
    return text


class _TooDeepError(Exception):
    """The file nests deeper than anything that a partner file says."""


def _only(problem: Problem) -> YamlText:
    """A file of which nothing else can be said: what stood before the problem may mean something else."""
    return YamlText(problem.file, problems=[problem])


def _syntax(file: Path, error: yaml.YAMLError) -> Problem:
    reason = getattr(error, "problem", None) or "cannot be read"
    line, column = _place(getattr(error, "problem_mark", None))
    return Problem(file, line, column, f"is not YAML: {reason}")


class _Builder:
    """Turns YAML's events into data, one type at a time, with no constructor of YAML's own.

    From events, not from yaml.compose: libyaml's composer ends the process on a very deep file.
    """

    def __init__(self, text: YamlText, content: str) -> None:
        self.text = text
        self.events: Iterator[yaml.Event] = yaml.parse(content, Loader=_LOADER)

    def build(self) -> Any:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            self.text.note((), "is empty")
            return None
        data = self._item((), next(self.events))
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._note_at(after, "begins a second document (---): a partner file is one")
        return data

    def _item(self, loc: Loc, event: yaml.Event) -> Any:
        self._mark(loc, event)
        return self._value(loc, event)

    def _mark(self, loc: Loc, event: yaml.Event) -> None:
        self.text.places[loc] = _place(event.start_mark)

    def _value(self, loc: Loc, event: yaml.Event) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(loc, event)
        if isinstance(event, yaml.AliasEvent):
            self.text.note(loc, _ALIAS)
            return None
        if len(loc) >= _MAX_DEPTH:
            raise _TooDeepError
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self._pairs(loc))
        return [self._item((*loc, at), child) for at, child in enumerate(self._children(yaml.SequenceEndEvent))]

    def _children(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        """The first event of each child; the reader of a child takes its other events before the next one."""
        while not isinstance(event := next(self.events), end):
            yield event

    def _pairs(self, loc: Loc) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for key in self._children(yaml.MappingEndEvent):
            name = self._key(loc, key)
            value = next(self.events)
            if name is None:
                self._skip(value)
                continue
            here = (*loc, name)
            if name in names:
                self._note_at(key, f"{'.'.join(map(str, here))}: stands here twice")
                self._skip(value)
                continue
            names.add(name)
            self._mark(here, key)
            if _SECRET_KEY.search(name):
                self.text.note(here, "looks like a secret; secrets stand in the Airflow connection and nowhere else")
                self._skip(value)
                continue
            yield name, self._value(here, value)

    def _key(self, loc: Loc, event: yaml.Event) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and (tag := _tag(event)) in (_STR, _MERGE):
            if tag == _STR:
                return str(event.value)
            self._note_at(event, "merge keys (<<) are not used in partner files")
            return None
        why = _ALIAS if isinstance(event, yaml.AliasEvent) else f"a key that is not text: {_QUOTES}"
        self._note_at(event, f"{'.'.join(map(str, loc))}: {why}")
        self._skip(event)
        return None

    def _skip(self, event: yaml.Event) -> None:
        """Take the rest of a value that nobody reads."""
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if not depth:
                return
            event = next(self.events)

    def _note_at(self, event: yaml.Event, message: str) -> None:
        line, column = _place(event.start_mark)
        self.text.problems.append(Problem(self.text.file, line, column, message.removeprefix(": ")))

    def _scalar(self, loc: Loc, event: yaml.ScalarEvent) -> Any:
        value = str(event.value)
        kind = _tag(event).removeprefix(_TAG)
        if kind == "str":
            return self._text(loc, value)
        if kind == "bool" and value in {"true", "false"}:
            return value == "true"
        if kind == "int" and _INTEGER.fullmatch(value):
            return int(value)
        if kind == "float" and _FRACTION.fullmatch(value):
            return float(value)
        if kind == "null":
            self.text.note(loc, "has no value: leave the key out instead")
        elif kind == "bool":
            self.text.note(loc, f"write true or false, or {_QUOTES}")
        else:
            self.text.note(loc, _QUOTES)
        return None

    def _text(self, loc: Loc, value: str) -> str | None:
        if _SECRET_VALUE.search(value):
            self.text.note(loc, "looks like a secret; secrets stand in the Airflow connection and nowhere else")
            return None
        return value


def _place(mark: Any) -> tuple[int, int]:
    """Line and column from 1; a mark of libyaml's or of the Python reader's."""
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _tag(event: yaml.ScalarEvent) -> str:
    """What YAML takes a scalar for."""
    given: str | None = event.tag
    return given if given not in (None, "!") else str(_RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit))
