"""Templates into answers: the language, the words and the addresses that every page has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from partner_sync.catalogue import Language
from partner_sync.report.moments import age, moment, short_day
from partner_sync.report.texts import Texts, language_of

HERE = Path(__file__).parent
LANGUAGE_COOKIE = "partner_sync_quality_lang"
LANGUAGES: tuple[Language, ...] = ("ja", "en")


def language(request: Request) -> Language:
    """What the link says, else what was chosen before, else what the browser asks for."""
    for said in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for known in LANGUAGES:
            if said == known:
                return known
    return language_of(request.headers.get("accept-language", ""))


def page(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page; remembers the language when the link has named one."""
    spoken = language(request)
    html = _environment().get_template(template).render({**_frame(request, spoken), **values})
    answer = HTMLResponse(html, status_code=status_code)
    if request.query_params.get("lang") in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, spoken, max_age=31_536_000, path=root(request) or "/", samesite="lax", httponly=True
        )
    return answer


def root(request: Request) -> str:
    """The address under which Airflow has mounted the pages: '/quality', with what stands before it."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def link(request: Request, *parts: str, **query: object) -> str:
    """An address of ours; every part is quoted, a run's key keeps its slashes. What is empty is left out."""
    kept = "/" if parts[0] == "runs" else ""
    path = "/".join([root(request), *(quote(part, safe=kept) for part in parts)])
    asked = {name: value for name, value in query.items() if value not in ("", None, 0)}
    return f"{path}?{urlencode(asked)}" if asked else path


def _frame(request: Request, spoken: Language) -> Mapping[str, Any]:
    now, texts = datetime.now(UTC), Texts(spoken)
    other = "en" if spoken == "ja" else "ja"
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    # A page that answers a form has no address of its own to come back to.
    came = (
        root(request) + request.scope["path"].removeprefix(root(request))
        if request.method == "GET"
        else link(request, "")
    )
    return {
        "lang": spoken,
        "t": texts,
        "other_language": other,
        "other_link": f"{quote(came)}?{urlencode([*kept, ('lang', other)])}",
        "to": lambda *parts, **query: link(request, *parts, **query),
        "moment": moment,
        "short_day": short_day,
        "age": lambda since: age(since, now, spoken),
        "person": getattr(request.state, "quality_visitor", None),
        "section": "",
    }


def percent(score: float | None) -> str:
    """'97.3 %', rounded down so that 100 means all; a dash when nothing was judged."""
    return "–" if score is None else f"{int(score * 1000) / 10:.1f} %"


def _pairs(values: Iterable[str], kind: str = "", texts: Texts | None = None) -> list[tuple[str, str]]:
    """Values and what a list of choices shows for them."""
    return [(value, texts.word(kind, value) if texts else value) for value in values]


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["percent"] = percent
    found.filters["pairs"] = _pairs
    found.filters["number"] = lambda value: f"{value:,}"
    return found
