"""``make hold``: let no call to a partner, or for one of its organizations, leave; or let them go again.

  make hold PARTNER=honoka REASON='maintenance until noon'                         the whole partner
  make hold PARTNER=honoka ORGANIZATION=sakura-care REASON='key is being changed'  one organization
  make hold PARTNER=honoka RESUME=1                                         let them go again

A hold needs a REASON; a resumption may have one. BY names who orders it (default: the name you are logged in by).
`make status` shows what is held. The DAG hold_partner does the same in Airflow.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping

from partner_sync.errors import ConfigError
from partner_sync.steps.hold import HoldOrder, hold_or_resume
from stack.commands import run_command
from stack.installation import Installation
from stack.progress import say


def order_of(environ: Mapping[str, str]) -> HoldOrder:
    """What the command's variables order; raises ConfigError when one is missing."""
    held = environ.get("RESUME", "") in {"", "0"}
    missing = [name for name in ("PARTNER", *(["REASON"] if held else [])) if not environ.get(name)]
    if missing:
        raise ConfigError(problem=f"Say {', '.join(missing)} too; `make hold HELP=1` explains.")
    return HoldOrder(
        partner=environ["PARTNER"],
        organization=environ.get("ORGANIZATION", ""),
        held=held,
        reason=environ.get("REASON") or "resumed",
        by=environ.get("BY") or getpass.getuser(),
    )


def main() -> None:
    if "--help" in sys.argv:
        say(__doc__ or "")
        return
    order = order_of(os.environ)
    with Installation.named_by(os.environ).connect("sync_run") as conn:
        changed = hold_or_resume(conn, order)
    word = "held" if order.held else "resumed"
    say(
        f"{order.named}: {word} by {order.by}."
        if changed
        else f"{order.named}: nothing changed, it was {word} already."
    )


if __name__ == "__main__":
    run_command(main)
