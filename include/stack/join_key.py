"""``make join-key``: a person says what a partner calls one of our rows (design, rule 14).

  make join-key PARTNER=tsubaki ORGANIZATION=momiji-care ENTITY=practitioner ID=<our canonical id> BY=<your name>

The partner's key comes from the environment variable KEY or from standard input: it stands for a person.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from partner_sync.errors import ConfigError
from partner_sync.links import linked_organizations
from partner_sync.onboarding import join_key
from partner_sync.partners.fields import ENTITY_ORDER
from stack.commands import run_command
from stack.installation import Installation
from stack.link import read_key
from stack.progress import say

_ID = re.compile(r"[0-9]{1,18}")
_NEEDED = ("PARTNER", "ORGANIZATION", "ENTITY", "ID", "BY")


def join(installation: Installation, environ: Mapping[str, str]) -> None:
    """Join the row to the key; visits that were blocked for it go out by themselves. Raises ConfigError."""
    missing = [name for name in _NEEDED if not environ.get(name)]
    if missing:
        raise ConfigError(problem=f"Say {', '.join(missing)} too; `make join-key HELP=1` explains.")
    if environ["ENTITY"] not in ENTITY_ORDER or not _ID.fullmatch(environ["ID"]):
        raise ConfigError(problem=f"ENTITY is one of {', '.join(ENTITY_ORDER)}, and ID our canonical id, a number.")
    key = read_key(environ)
    if key is None:
        raise ConfigError(problem="Give the partner's key by KEY or by standard input.")
    with installation.connect("sync_onboarding") as conn:
        codes = [environ["ORGANIZATION"]]
        link = linked_organizations(conn, partner=environ["PARTNER"], direction="schedule", codes=codes)[0]
        join_key(
            conn,
            link=link,
            entity=environ["ENTITY"],
            canonical_id=int(environ["ID"]),
            source_key=key,
            joined_by=environ["BY"],
        )


def main() -> None:
    if "--help" in sys.argv:
        say(__doc__ or "")
        return
    join(Installation.named_by(os.environ), os.environ)
    say("Joined; what was blocked for it goes out with the next tick.")


if __name__ == "__main__":
    run_command(main)
