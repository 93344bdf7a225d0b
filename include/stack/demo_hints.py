"""What to try after the demo, as commands that can be copied."""

from __future__ import annotations

import shlex
from pathlib import Path

from partner_sync.database import Connection, translated_errors
from partner_sync.statements import statement
from partner_sync.weeks import Week
from stack.demo_links import LINKS
from stack.installation import Installation
from stack.logins import DATABASE
from stack.postgres import packaged_install
from stack.practice import practice_partners
from stack.private_files import write_private
from stack.progress import say

_PRODUCT = "sync_product"


def print_hints(installation: Installation, week: Week) -> None:
    """Print what to try next. The key and the database's URL go into private files: a terminal is read by others."""
    partners = practice_partners(installation)
    (wrong,) = [link for link in LINKS if link.key_is_wrong]
    key = _kept(installation, f"{wrong.organization}.key", partners[wrong.partner].keys()[wrong.organization]["secret"])
    password = installation.secret_store.get(_PRODUCT)
    url = _kept(installation, "product.url", installation.address.url(_PRODUCT, password, database=DATABASE))
    with installation.connect(_PRODUCT) as product:
        visit_id = _a_visit(product, week, organization=LINKS[0].organization)
    link = f"make link PARTNER={wrong.partner} ORGANIZATION={wrong.organization} KEY_FILE={key}"
    change = f"update schedule.visit set note = 'ring twice' where visit_id = '{visit_id}'"
    psql = shlex.quote(str(packaged_install() / "bin" / "psql"))
    for line in (
        "",
        "Try next:",
        f"  - open {installation.airflow_url}, DAG {LINKS[0].partner}__schedule_push, Trigger: week {week}, dry run on",
        f"  - give {wrong.organization} its right key, and run {wrong.partner}__master_sync again: it turns green",
        f"      {link}",
        f"  - change a visit as the product does (login {_PRODUCT}): {LINKS[0].partner}__live_push sends it by itself",
        f'      {psql} "$(cat {url})" -c "{change}"',
        "  The practice partners: " + ", ".join(f"{name} {each.url}" for name, each in partners.items()),
        "",
    ):
        say(line)


def _kept(installation: Installation, name: str, text: str) -> str:
    """Keep a secret in a private file of the practice folder; the file's path, ready for a shell."""
    file: Path = installation.home.path / "practice" / name
    write_private(file, text)
    return shlex.quote(str(file))


def _a_visit(product: Connection, week: Week, *, organization: str) -> str:
    with translated_errors():
        facts = {"organization": organization, "week": week.monday}
        row = product.execute(statement("practice_product.a_sent_visit"), facts).fetchone()
    return str(row["visit_id"]) if row else "<visit_id>"
