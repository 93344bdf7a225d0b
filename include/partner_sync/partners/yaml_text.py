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
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_MAX_DEPTH = 20
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
    try:
        if len(raw) > _MAX_BYTES:
            text.note((), f"is larger than {_MAX_BYTES // 1024} KB")
            return text
        content = raw.decode("utf-8")
        if _depth(content) > _MAX_DEPTH:
            text.note((), "is nested too deeply")
            return text
        node = yaml.compose(content, Loader=_LOADER)
    except UnicodeDecodeError:
        text.note((), "is not UTF-8 text")
    except yaml.YAMLError as error:
        _note_syntax(text, error)
    else:
        text.data = _Builder(text).build(node)
    return text


def _depth(content: str) -> int:
    """How deep a file nests, counted without recursion: libyaml's composer ends the process on a very deep file."""
    deepest = depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            break
    return deepest


def _note_syntax(text: YamlText, error: yaml.YAMLError) -> None:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or "cannot be read"
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    text.problems.append(Problem(text.file, line, column, f"is not YAML: {reason}"))


class _Builder:
    """Turns nodes into data, one type at a time, with no constructor of YAML's own."""

    def __init__(self, text: YamlText) -> None:
        self.text = text
        self.seen: set[int] = set()

    def build(self, node: yaml.Node | None) -> Any:
        if node is None:
            self.text.note((), "is empty")
            return None
        self._mark((), node)
        return self._value((), node)

    def _mark(self, loc: Loc, node: yaml.Node) -> None:
        self.text.places[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)

    def _value(self, loc: Loc, node: yaml.Node) -> Any:
        if id(node) in self.seen:
            self.text.note(loc, "aliases (*name) are not used in partner files: write the value again")
            return None
        self.seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(loc, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._item((*loc, at), child) for at, child in enumerate(node.value)]
        return self._scalar(loc, node)

    def _item(self, loc: Loc, node: yaml.Node) -> Any:
        self._mark(loc, node)
        return self._value(loc, node)

    def _pairs(self, loc: Loc, node: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for key_node, value_node in node.value:
            name = self._key(loc, key_node)
            if name is None:
                continue
            here = (*loc, name)
            if name in names:
                self._note_at(key_node, f"{'.'.join(map(str, here))}: stands here twice")
                continue
            names.add(name)
            self._mark(here, key_node)
            if _SECRET_KEY.search(name):
                self.text.note(here, "looks like a secret; secrets stand in the Airflow connection and nowhere else")
                continue
            yield name, self._value(here, value_node)

    def _key(self, loc: Loc, node: yaml.Node) -> str | None:
        if node.tag == f"{_TAG}merge":
            self._note_at(node, "merge keys (<<) are not used in partner files")
        elif not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            self._note_at(node, f"{'.'.join(map(str, loc))}: a key that is not text: {_QUOTES}")
        else:
            return str(node.value)
        return None

    def _note_at(self, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.text.problems.append(Problem(self.text.file, mark.line + 1, mark.column + 1, message.removeprefix(": ")))

    def _scalar(self, loc: Loc, node: yaml.Node) -> Any:
        value = str(node.value)
        kind = node.tag.removeprefix(_TAG)
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
