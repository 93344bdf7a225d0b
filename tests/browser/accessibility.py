"""axe-core (vendored, tests only) over a page: names, headings, landmarks, contrast, tables."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Frame, Page

AXE = Path(__file__).with_name("axe.min.js").read_text(encoding="utf-8")
_RUN = """async () => {
    const found = await axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]});
    return found.violations.map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
}"""


def faults(page: Page | Frame) -> list[str]:
    """What axe finds wrong, one line a rule. Evaluated by the debugger, which a page's policy does not bind."""
    page.evaluate(AXE)
    found: list[str] = page.evaluate(_RUN)
    return found
