"""``make stop``: ends everything that was started from this home, and nothing else."""

from __future__ import annotations

import os

from stack.commands import run_command
from stack.installation import Installation
from stack.progress import say, step


def main() -> None:
    installation = Installation.named_by(os.environ)
    with step(f"Stopping what {installation.home.path} started"):
        found = installation.stop()
    if not found:
        say("Nothing was running.")


if __name__ == "__main__":
    run_command(main)
