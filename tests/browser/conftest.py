"""A browser with a person's login; what it asks for elsewhere or complains about fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browser.world import World, pages_world

SCREENSHOTS = Path(__file__).parents[2] / ".ci" / "artefacts" / "screenshots"
#: A person's own choice, then Debian's names.
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    with pages_world() as found:
        yield found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail(
            "There is no chromium: `apt-get install chromium fonts-ipafont-gothic`, or name one in CHROMIUM.",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        # Chromium refuses its own sandbox to root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, world: World) -> Iterator[OpenPage]:
    """Open an address as a person; ``options`` are those of the browser's context."""
    contexts, complaints = [], []

    def watch(page: Page) -> None:
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if is_ours(asked.url) else complaints.append(f"asked {asked.url}"))

    def is_ours(url: str) -> bool:
        return url.startswith((f"{world.address}/", "data:", "blob:", "about:"))

    def open_as(person: str | None, address: str, *, watched: bool = True, **options: Any) -> Page:
        context = chromium.new_context(**({"locale": "ja-JP", "viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        if person:
            context.add_cookies([{"name": "_token", "value": world.tokens[person], "url": world.address}])
        page = context.new_page()
        if watched:
            watch(page)
        # Airflow's own pages go on loading for ever.
        page.goto(f"{world.address}{address}", wait_until="load" if watched else "domcontentloaded")
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert complaints == []


def keep_picture(page: Page, name: str, *, whole: bool = True) -> None:
    """For people who look at a change: a folder that CI keeps."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)
