"""``python -m sandbox --profile honoka --port 8701``: one practice partner in the foreground."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path

from sandbox.serving import kept_token, listen, open_world, server_of
from sandbox.settings import DEFAULT_SEED, PROFILE_SETTINGS, load_settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--profile", choices=tuple(PROFILE_SETTINGS), required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--home", type=Path, help="folder that keeps the visits over a restart")
    parser.add_argument("--seed", type=int, help=f"default {DEFAULT_SEED}")
    parser.add_argument("--settings", type=Path, help="YAML or JSON file")
    parser.add_argument("--control-token", help="else PRACTICE_CONTROL_TOKEN, else HOME/control-token")
    return parser.parse_args()


def _control_token(arguments: argparse.Namespace) -> str:
    given = arguments.control_token or os.environ.get("PRACTICE_CONTROL_TOKEN")
    if given:
        return str(given)
    if arguments.home is not None:
        return kept_token(arguments.home)
    made = secrets.token_urlsafe(24)
    print(f"control token: {made}", flush=True)
    return made


def main() -> None:
    arguments = _arguments()
    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    settings = load_settings(arguments.profile, arguments.settings, seed)
    world = open_world(arguments.profile, settings, home=arguments.home, control_token=_control_token(arguments))
    listener = listen(arguments.host, arguments.port)
    host, port = listener.getsockname()[:2]
    listener.listen()
    print(f"listening on http://{host}:{port}", flush=True)
    try:
        server_of(world).run(sockets=[listener])
    finally:
        world.close()


if __name__ == "__main__":
    main()
