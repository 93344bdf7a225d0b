r"""``make link``: joins one of our organizations to a partner, or changes how it is joined.

Needs a running stack (`make up`). Makes or renews: the organization, the link with its staging partition, the Airflow
connection partner_<slug>__<organization> that carries the key, and the partner's pool. Running it again is safe.

  make link PARTNER=honoka ORGANIZATION=sakura-care URL=https://partner.example \
            MASTER=office,practitioner,patient DIRECTIONS=master,schedule RELEASE=manual KEY_FILE=path

The partner's key comes from KEY_FILE, from the environment variable KEY, or from standard input; a command line can
be read by everybody on the machine. Without a new key the one that Airflow holds stays.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from partner_sync.errors import ConfigError, PartnerFileError
from partner_sync.links import Direction, Link, ReleaseMode
from partner_sync.onboarding import add_link, add_organization
from partner_sync.partners.fields import ENTITY_ORDER
from partner_sync.partners.loader import load_partner
from partner_sync.partners.model import Partner
from stack.airflow_api import AirflowApi, AirflowConnection
from stack.commands import run_command
from stack.installation import Installation
from stack.progress import say

_DIRECTIONS: tuple[str, ...] = get_args(Direction)
_RELEASES: tuple[str, ...] = get_args(ReleaseMode)


@dataclass(frozen=True, kw_only=True)
class LinkOrder:
    """What a person asked for; ``key`` None keeps the key that Airflow holds."""

    link: Link
    name: str
    url: str
    login: str | None = None
    key: str | None = field(default=None, repr=False)


def connection_id_of(partner: str, organization: str) -> str:
    """The name of the Airflow connection that carries an organization's key at a partner."""
    return f"partner_{partner}__{organization}"


def join(installation: Installation, api: AirflowApi, *, order: LinkOrder) -> None:
    """Make the link and what it needs; raises SecondMasterError before anything is changed in Airflow."""
    partner = partner_named(order.link.partner, installation.partners)
    api.dag_ids()  # whether Airflow answers, before the database is changed
    with installation.connect("sync_onboarding") as conn:
        add_organization(conn, code=order.link.organization, name=order.name)
        add_link(conn, order.link)
    _put_key(api, order)
    api.put_pool(partner.slug, partner.concurrency)


def partner_named(slug: str, folder: Path) -> Partner:
    """The partner of a file; raises ConfigError when there is none, PartnerFileError when it is broken."""
    file = next((path for path in (folder / f"{slug}.yaml", folder / f"{slug}.yml") if path.is_file()), None)
    if file is None:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.y*ml"))) or "none"
        raise ConfigError(problem=f"There is no partner file for {slug!r}; there are: {known}.")
    loaded = load_partner(file)
    if not isinstance(loaded, Partner):
        raise PartnerFileError(partner=slug, problems="\n".join(map(str, loaded)))
    return loaded


def _put_key(api: AirflowApi, order: LinkOrder) -> None:
    connection = AirflowConnection(
        connection_id=order.link.connection_id,
        conn_type="http",
        host=order.url,
        login=order.login,
        password=order.key,
    )
    if order.key is not None:
        api.put_connection(connection)
    elif not api.has_connection(connection.connection_id):
        raise ConfigError(problem=f"Airflow holds no key for {connection.connection_id} yet: give one by KEY_FILE.")
    else:
        api.change_connection(connection)


def read_key(environ: Mapping[str, str]) -> str | None:
    """The key from KEY_FILE, KEY, or standard input (asked without echo on a terminal); None when empty."""
    if environ.get("KEY_FILE"):
        text = Path(environ["KEY_FILE"]).expanduser().read_text(encoding="utf-8")
    elif environ.get("KEY"):
        text = environ["KEY"]
    elif sys.stdin.isatty():
        text = getpass.getpass("The partner's key (empty keeps the one that is there): ")
    else:
        text = sys.stdin.read()
    return text.strip() or None


def parse(arguments: list[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Options; what is not given is taken from the environment, as `make link NAME=value` sets it."""
    parser = argparse.ArgumentParser(
        prog="make link", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, meaning, default in (
        ("partner", "the partner's slug: the stem of its file", None),
        ("organization", "our code of the organization", None),
        ("url", "the partner's base URL", None),
        ("name", "the organization's name (default: its code)", ""),
        ("login", "the login, where the partner wants one beside the key", ""),
        ("master", f"entities that the partner is the master of: {','.join(ENTITY_ORDER)}", ""),
        ("directions", f"{','.join(_DIRECTIONS)} or one of them", ",".join(_DIRECTIONS)),
        ("release", f"when finalized weeks leave: {', '.join(_RELEASES)}", "manual"),
    ):
        value = environ.get(name.upper(), default)
        parser.add_argument(f"--{name}", help=f"{name.upper()}: {meaning}", default=value, required=value is None)
    parser.add_argument("--disabled", action="store_true", help="keep the link, but do nothing with it")
    return parser.parse_args(arguments)


def order_of(options: argparse.Namespace, key: str | None) -> LinkOrder:
    """The order that the options describe; raises ConfigError for a word that is not known."""
    _refuse_unknown("RELEASE", [options.release], known=_RELEASES)
    link = Link(
        partner=options.partner,
        organization=options.organization,
        connection_id=connection_id_of(options.partner, options.organization),
        directions=tuple(_words("DIRECTIONS", options.directions, known=_DIRECTIONS)),  # type: ignore[arg-type]  # known
        master_of=tuple(_words("MASTER", options.master, known=ENTITY_ORDER)),
        release_mode=options.release,
        enabled=not options.disabled,
    )
    return LinkOrder(
        link=link, name=options.name or options.organization, url=options.url, login=options.login or None, key=key
    )


def _words(option: str, text: str, *, known: tuple[str, ...]) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    _refuse_unknown(option, words, known=known)
    return words


def _refuse_unknown(option: str, words: list[str], *, known: tuple[str, ...]) -> None:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ConfigError(problem=f"{option}: {', '.join(unknown)} is none of {', '.join(known)}.")


def main() -> None:
    options = parse(sys.argv[1:], os.environ)
    installation = Installation.named_by(os.environ)
    order = order_of(options, read_key(os.environ))
    with installation.api() as api:
        join(installation, api, order=order)
    say(f"{order.link.organization} is joined to {order.link.partner}; its key is in {order.link.connection_id}.")


if __name__ == "__main__":
    run_command(main)
