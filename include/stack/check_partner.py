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
from partner_sync.links import linked_organizations
from stack.check_failure import explained, failure_in
from stack.commands import run_command
from stack.installation import Installation
from stack.link import partner_named
from stack.progress import say, step

DAG_ID = "check_partner"
TASK_ID = "check"


def check(installation: Installation, slug: str, *, organization: str | None) -> None:
    """Print the report; raises ConfigError that says why the partner did not pass."""
    partner = partner_named(slug, installation.partners)
    chosen = _link(installation, slug, organization=organization)
    with installation.api() as api, step(f"Checking {slug} as {chosen}"):
        api.put_pool(partner.slug, partner.concurrency)
        api.unpause(DAG_ID)
        run_id = api.trigger(DAG_ID, {"partner": slug, "organization": chosen})
        state = api.wait_for_run(DAG_ID, run_id)
        if state != "success":
            why = failure_in(api.log(DAG_ID, run_id, task_id=TASK_ID), partner=slug, organization=chosen)
            raise ConfigError(problem=why or f"{slug} did not pass: see the log of the run {run_id} of {DAG_ID}.")
        report = api.return_value(DAG_ID, run_id, task_id=TASK_ID)
    for line in lines_of(report):
        say(line)


def _link(installation: Installation, slug: str, *, organization: str | None) -> str:
    """The organization whose key is used: the one that was named, or the first linked one."""
    codes = [organization] if organization else []
    with installation.connect("sync_run") as conn:
        try:
            links = linked_organizations(conn, partner=slug, direction="master", codes=codes)
        except ConfigError as error:
            raise ConfigError(
                problem=explained(error.code, str(error), partner=slug, organization=organization)
            ) from None
    if not links:
        raise ConfigError(problem=f"No organization is linked to {slug} to read from it: `make link` adds one.")
    return links[0].organization


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
