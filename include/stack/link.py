r"""``make link``: joins one of our organizations to a partner, or changes how it is joined.

Needs a running stack (`make up`). Makes or renews: the organization, the link with its staging partition, the Airflow
connection partner_<slug>__<organization> that carries the key, and the partner's pool. Running it again is safe.

  make link PARTNER=honoka ORGANIZATION=sakura-care URL=https://partner.example NAME='...' \
            MASTER=office,practitioner,patient DIRECTIONS=master,schedule RELEASE=manual KEY_FILE=path
  make link PARTNER=honoka ORGANIZATION=sakura-care KEY_FILE=path    a new key; everything else stays
  make link PARTNER=honoka ORGANIZATION=sakura-care DISABLED=1       nothing is read or sent; DISABLED=0: again

What is not given stays as it is. A new link needs URL and a key; by default it has both directions, is no master, and
its weeks are released by hand. Everything is checked before anything is written.

The partner's key comes from KEY_FILE, from the environment variable KEY, or from standard input; a command line can
be read by everybody on the machine. Without a new key the one that Airflow holds stays.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from partner_sync.database import translated_errors
from partner_sync.errors import ConfigError, PartnerFileError
from partner_sync.links import Direction, Link, ReleaseMode, link_of
from partner_sync.onboarding import add_link, add_organization, refuse_bad_code
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
    """What a link shall be. None keeps what is there: the organization's name, and the address, login and key that
    Airflow holds.
    """

    link: Link
    name: str | None = None
    url: str | None = None
    login: str | None = None
    key: str | None = field(default=None, repr=False)


def connection_id_of(partner: str, organization: str) -> str:
    """The name of the Airflow connection that carries an organization's key at a partner."""
    return f"partner_{partner}__{organization}"


def join(installation: Installation, api: AirflowApi, *, order: LinkOrder) -> None:
    """Make the link and what it needs; whatever is refused, also by Airflow, leaves the database as it was.

    Raises ConfigError, PartnerFileError and SecondMasterError.
    """
    partner = partner_named(order.link.partner, installation.partners)
    has_key = api.has_connection(order.link.connection_id)
    if not has_key:
        _refuse_without_key(order)
    with installation.connect("sync_onboarding") as conn, translated_errors(), conn.transaction():
        add_organization(conn, code=order.link.organization, name=order.name)
        add_link(conn, order.link)
        # Airflow last: an enabled link must not be there without its key, while a key without a link does no harm.
        _put_key(api, order, has_key=has_key)
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


def _refuse_without_key(order: LinkOrder) -> None:
    missing = [name for name, value in (("KEY_FILE", order.key), ("URL", order.url)) if value is None]
    if missing:
        held = f"Airflow does not hold {order.link.connection_id} yet"
        raise ConfigError(problem=f"{held}: say {' and '.join(missing)} too. Nothing was changed.")


def _put_key(api: AirflowApi, order: LinkOrder, *, has_key: bool) -> None:
    connection = AirflowConnection(
        connection_id=order.link.connection_id,
        conn_type="http",
        host=order.url,
        login=order.login,
        password=order.key,
    )
    if has_key:
        api.change_connection(connection)
    else:
        api.put_connection(connection)


def read_key(environ: Mapping[str, str]) -> str | None:
    """The key from KEY_FILE, KEY, or standard input (asked without echo on a terminal); None when empty.

    Raises ConfigError for a file that cannot be read, or is empty.
    """
    if environ.get("KEY_FILE"):
        return _key_in(Path(environ["KEY_FILE"]).expanduser())
    if environ.get("KEY"):
        text = environ["KEY"]
    elif sys.stdin.isatty():
        text = getpass.getpass("The partner's key (empty keeps the one that is there): ")
    else:
        text = sys.stdin.read()
    return text.strip() or None


def _key_in(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(problem=f"KEY_FILE: {file} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ConfigError(problem=f"KEY_FILE: {file} is not text.") from None
    if not text:
        raise ConfigError(problem=f"KEY_FILE: {file} is empty.")
    return text


def parse(arguments: list[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Options; what is not given is taken from the environment, as `make link NAME=value` sets it. Empty is None."""
    parser = argparse.ArgumentParser(
        prog="make link",
        usage="make link NAME=value ... (--name value is the same)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, meaning in (
        ("partner", "the partner's slug: the stem of its file"),
        ("organization", "our code of the organization"),
        ("url", "the partner's base URL, with its scheme; a path in it is put before every path of the partner file"),
        ("name", "the organization's name (of a new one by default its code)"),
        ("login", "the login, where the partner wants one beside the key"),
        ("master", f"entities that the partner is the master of: {','.join(ENTITY_ORDER)}; none: of nothing"),
        ("directions", f"{','.join(_DIRECTIONS)} or one of them"),
        ("release", f"when finalized weeks leave: {', '.join(_RELEASES)}"),
        ("disabled", "1: keep the link, but do nothing with it; 0: use it again"),
    ):
        value = environ.get(name.upper()) or None
        needed = value is None and name in {"partner", "organization"}
        parser.add_argument(
            f"--{name}", metavar="value", help=f"{name.upper()}: {meaning}", default=value, required=needed
        )
    return parser.parse_args(arguments)


def order_of(options: argparse.Namespace, known: Link | None) -> LinkOrder:
    """The order that the options describe; what they leave out is as in ``known``, the link that is there.

    Raises ConfigError for a word, a code or an address that is none.
    """
    refuse_bad_code(options.organization)
    fresh = Link(
        partner=options.partner,
        organization=options.organization,
        connection_id=connection_id_of(options.partner, options.organization),
        directions=("master", "schedule"),
    )
    changes: dict[str, Any] = {
        "directions": _words("DIRECTIONS", options.directions, known=_DIRECTIONS),
        "master_of": _words("MASTER", options.master, known=ENTITY_ORDER, none="none"),
        "release_mode": _word("RELEASE", options.release, known=_RELEASES),
        "enabled": {"1": False, "0": True, None: None}[_word("DISABLED", options.disabled, known=("1", "0"))],
    }
    link = replace(known or fresh, **{name: value for name, value in changes.items() if value is not None})
    return LinkOrder(link=link, name=options.name, url=base_url_of(options.url), login=options.login)


def base_url_of(url: str | None) -> str | None:
    """A partner's address as it is kept; raises ConfigError for one that cannot be called."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ConfigError(problem="URL: this is no address; write it with its scheme, as https://partner.example.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(problem="URL: leave login, password, ? and # out of it; LOGIN and KEY_FILE carry the rest.")
    return url.rstrip("/")


def _words(option: str, text: str | None, *, known: tuple[str, ...], none: str = "") -> tuple[str, ...] | None:
    if text is None:
        return None
    if text.strip() == none:
        return ()
    return tuple(str(_word(option, word.strip(), known=known)) for word in text.split(",") if word.strip())


def _word(option: str, word: str | None, *, known: tuple[str, ...]) -> str | None:
    if word is not None and word not in known:
        raise ConfigError(problem=f"{option}: {word} is none of {', '.join(known)}.")
    return word


def described(order: LinkOrder) -> list[str]:
    """What the link is now, as a person reads it."""
    link = order.link
    lines = [
        f"{link.organization} is joined to {link.partner}; its key is in {link.connection_id}.",
        f"  directions {','.join(link.directions)}; master of {','.join(link.master_of) or 'nothing'}; "
        f"release {link.release_mode}",
    ]
    if path := urlsplit(order.url or "").path:
        lines.append(f"  {path} of the URL is put before every path of the partner file.")
    if not link.enabled:
        lines.append("  It is disabled: nothing is read or sent until `make link ... DISABLED=0`.")
    return lines


def main() -> None:
    options = parse(sys.argv[1:], os.environ)
    installation = Installation.named_by(os.environ)
    partner_named(options.partner, installation.partners)
    with installation.connect("sync_onboarding") as conn:
        known = link_of(conn, partner=options.partner, organization=options.organization)
    order = replace(order_of(options, known), key=read_key(os.environ))
    with installation.api() as api:
        join(installation, api, order=order)
    for line in described(order):
        say(line)


if __name__ == "__main__":
    run_command(main)
