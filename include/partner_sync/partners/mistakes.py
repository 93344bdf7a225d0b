"""Everything that is wrong with what a partner file says, in our own words, each at its place.

Pydantic checks how the parts of a section agree only when each part is right by itself. So what is wrong is told, taken
away, and the rest is checked again; what only follows from something that was taken away is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from partner_sync.partners.known_keys import keys_at
from partner_sync.partners.model import Partner
from partner_sync.partners.parts import near
from partner_sync.partners.yaml_text import Loc, YamlText

#: What a section gets in place of a must that is wrong or missing, so that the keys beside it can be checked.
_STAND_INS: dict[str, Any] = {
    "name": {"ja": "-", "en": "-"},
    "owner": {"team": "-"},
    "kind": "rest_json",
    "auth": {"style": "bearer"},
    "limits": [{"scope": "vendor", "requests": 1, "per_seconds": 1}],
    "path": "/",
    "paging": {"style": "link_header"},
    "key": "-",
    "method": "PUT",
    "put": {"method": "PUT", "path": "/"},
    "withdraw": {"method": "PUT", "path": "/"},
}
#: Each round takes something away or is the last; a file of 256 KB with nothing right needs a few.
_ROUNDS = 20
#: Steps of pydantic that stand for no key of the file.
_NO_KEYS = (("[key]",), ("str",), ("int",), ("bool",))
_SECTION = "must be a section of keys and values"
_MESSAGES = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "dict_type": _SECTION,
    "mapping_type": _SECTION,
    "is_instance_of": _SECTION,
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be one of {expected}",
    "union_tag_not_found": "needs {discriminator}",
    "union_tag_invalid": "must be one of {expected_tags} ({discriminator})",
    "string_pattern_mismatch": "must look like {pattern}",
    "value_error": "{error}",
    "missing": "is missing",
}


def checked(text: YamlText, *, slug: str) -> Partner | None:
    """The partner, or None; every mistake is noted in ``text``."""
    return _Checking(text, deepcopy(text.data) | {"slug": slug}).run()


@dataclass
class _Checking:
    """``data`` without what is wrong already; ``gone`` is what was taken away, ``unknown`` what nobody asks for."""

    text: YamlText
    data: dict[str, Any]
    gone: set[Loc] = field(default_factory=set)
    unknown: set[Loc] = field(default_factory=set)

    def run(self) -> Partner | None:
        # What YAML itself got wrong has no value here: its absence is no second problem.
        spoilt = {(each.line, each.column) for each in self.text.problems}
        for _ in range(_ROUNDS):
            try:
                return Partner.model_validate(self.data)
            except ValidationError as error:
                details = error.errors(include_url=False, include_input=False)
            wrong = [
                place for detail in details if not _is_echo(detail, details) for place in self._told(detail, spoilt)
            ]
            # All of them, and each once: a second time would take its section away.
            if not sum([self._take_away(place) for place in dict.fromkeys(wrong)]):
                return None
        return None

    def _told(self, detail: Any, spoilt: set[tuple[int, int]]) -> list[Loc]:
        """Note a mistake, unless it only follows from another; where it is."""
        loc, kind = _real_loc(detail["loc"], self.text), detail["type"]
        places: list[Loc] = []
        for place, message in _readable(loc, detail, data=self.data):
            places.append(place)
            follows = self._follows(place) if loc else self._follows_from_afar(kind)
            if not follows and self.text.place(place) not in spoilt:
                self.text.note(place, message)
        if kind == "extra_forbidden":
            self.unknown.add(loc)
        return places

    def _follows(self, place: Loc) -> bool:
        """Whether something is wrong only because it, or a key of it, was taken away."""
        return place in self.gone or any(each[:-1] == place for each in self.gone)

    def _follows_from_afar(self, kind: str) -> bool:
        """The same of what the sections of a whole file have to agree on."""
        roots = {"master", "push"} if kind == "disagreement" else set(self.data)
        return any(each[0] in roots and "map" not in each for each in self.gone - self.unknown)

    def _take_away(self, loc: Loc) -> bool:
        """Take away what is at ``loc``: a must gets its stand-in, or its section goes. False when nothing can go."""
        if not loc:
            return False
        section, key, again = _at(self.data, loc[:-1]), loc[-1], loc in self.gone
        self.gone.add(loc)
        if not isinstance(section, dict):
            return section is not None and self._take_away(loc[:-1])
        if not again and key in _STAND_INS and key in keys_at(loc[:-1], self.data):
            section[str(key)] = deepcopy(_STAND_INS[str(key)])
            return True
        if key not in section or again:
            return self._take_away(loc[:-1])
        del section[str(key)]
        return True


def _is_echo(detail: Any, details: list[Any]) -> bool:
    """Whether a list is too short only for pydantic, which leaves wrong items out before it counts."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        each["loc"][: len(loc)] == loc and each["loc"] != loc for each in details
    )


def _at(data: Any, loc: Loc) -> Any:
    for step in loc:
        if isinstance(data, dict):
            data = data.get(str(step))
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def _readable(loc: Loc, detail: Any, *, data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "disagreement":
        for below, message in context["found"]:
            yield (*loc, *below), message
    elif kind == "extra_forbidden":
        yield loc, f"is not a known key{near(str(loc[-1]), keys_at(loc[:-1], data))}"
    elif detail["loc"][-1:] in (("str",), ("int",), ("bool",)) and loc[-1:] != detail["loc"][-1:]:
        yield loc, "must be a text, a whole number, or true or false"
    else:
        yield loc, _MESSAGES.get(kind, "is not valid").format(**context)


def _real_loc(loc: Loc, text: YamlText) -> Loc:
    """Pydantic's loc without the steps that are no key of the file (union tags, '[key]')."""
    real: Loc = ()
    for part in loc[:-1]:
        if (*real, part) in text.places:
            real = (*real, part)
    last = loc[-1:]
    known = (*real, *last) in text.places
    return (*real, *last) if known or not (last in _NO_KEYS or _is_tag(last, text, real=real)) else real


def _is_tag(last: Loc, text: YamlText, *, real: Loc) -> bool:
    """Whether the last step names the chosen style of a union, not a key."""
    here = _at(text.data, real)
    return isinstance(here, dict) and (here.get("style"),) == last
