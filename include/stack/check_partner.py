"""``make check-partner PARTNER=<slug> [ORGANIZATION=<code>]``: connect, list, and show what came, masked.

Needs a running stack (`make up`) and one link (`make link`). Makes the partner's pool, then runs the DAG check_partner:
the organization's key is in an Airflow connection and nowhere else, so the call is made where Airflow can read it.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from partner_sync.errors import ConfigError
from stack.commands import run_command
from stack.installation import Installation
from stack.link import partner_named
from stack.progress import say, step

DAG_ID = "check_partner"


def check(installation: Installation, slug: str, *, organization: str | None) -> None:
    """Print the report; raises ConfigError when the check's run failed."""
    partner = partner_named(slug, installation.partners)
    with installation.api() as api, step(f"Checking {slug}"):
        api.put_pool(partner.slug, partner.concurrency)
        api.unpause(DAG_ID)
        run_id = api.trigger(DAG_ID, {"partner": slug, "organization": organization})
        state = api.wait_for_run(DAG_ID, run_id)
        if state != "success":
            raise ConfigError(problem=f"{slug} did not pass: see the log of the run {run_id} of {DAG_ID} in Airflow.")
        report = api.return_value(DAG_ID, run_id, task_id="check")
    for line in lines_of(report):
        say(line)


def lines_of(report: dict[str, Any]) -> list[str]:
    """The report as a person reads it."""
    lines = [f"{report['partner']} as {report['organization']}: can {', '.join(report['can']) or 'list only'}"]
    lines += [f"  limit: {_limit(limit)}" for limit in report["limits"]]
    lines += [f"  {report['partner']} says: {_policy(policy)}" for policy in report["policies"]]
    for entity, found in report["entities"].items():
        lines.append(f"  {entity}: {found['records']} records on the first page, {found['total'] or 'unknown'} in all")
        lines += [f"    problem: {problem}" for problem in found["problems"]]
        lines += ["    " + ", ".join(f"{name} {shape}" for name, shape in row.items()) for row in found["rows"]]
    return lines


def _limit(limit: dict[str, Any]) -> str:
    span = f"in {limit['per_seconds']:g} s" if "per_seconds" in limit else "at once"
    return f"{limit['requests']} calls {span} for each {limit['scope']} ({limit['counts']})"


def _policy(policy: dict[str, Any]) -> str:
    said = f"{policy['requests']} calls in {policy['window_seconds']:g} s ({policy['name']})"
    file = f"{policy['file_requests']} calls in {policy['file_seconds']:g} s for each {policy['file_scope']}"
    same = {"same": "as the file says", "smaller": f"less than the file says ({file}): bring it into line"}
    return f"{said}, {same.get(policy['differs'], f'more than the file says ({file})')}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make check-partner", description=__doc__)
    parser.parse_args()
    slug = os.environ.get("PARTNER")
    if not slug:
        sys.exit("Say which partner: make check-partner PARTNER=<slug>")
    check(Installation.named_by(os.environ), slug, organization=os.environ.get("ORGANIZATION") or None)


if __name__ == "__main__":
    run_command(main)
