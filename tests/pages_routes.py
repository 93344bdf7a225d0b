"""Every route of the quality pages, taken from the application itself, so that none is forgotten."""

from __future__ import annotations

import re

#: A value of each route's parameters, for those who have no right to any.
SAMPLES = {
    "partner": "honoka", "entity": "patient", "expectation": "family_name_present", "record": "1",
    "name": "quality.css", "run_key": "a/b", "path": "no/such/page",
}  # fmt: skip
#: What FastAPI would answer by itself, and what climbs out.
BESIDE = (
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/static/%2e%2e/app.py"),
    ("HEAD", "/"),
)


def every_route() -> list[tuple[str, str]]:
    """Method and path below /quality."""
    from partner_sync_airflow.pages.app import make_app

    found = set(BESIDE)
    for route in make_app().routes:
        path = re.sub(r"\{(\w+)(:path)?\}", lambda name: SAMPLES[name[1]], route.path)
        found |= {(method, path) for method in route.methods}
    return sorted(found)
