"""``python -m stack.part_health PART [URL]``: ends with status 0 when Airflow calls that part healthy."""

from __future__ import annotations

import sys

from stack.airflow_api import HEALTHY_PARTS, AirflowApi


def main(part: str, url: str = "http://api-server:8080") -> None:
    if part not in HEALTHY_PARTS:
        sys.exit(f"{part} is none of {', '.join(HEALTHY_PARTS)}.")
    with AirflowApi(url, "", password="") as api:
        status = api.health()[part].status
    if status != "healthy":
        sys.exit(f"{part} is {status}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
