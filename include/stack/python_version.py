"""Refuses any Python but 3.11 in one sentence; runs under whatever Python it is given."""

from __future__ import annotations

import sys

WANTED = (3, 11)


def complaint(version: tuple[int, ...]) -> str | None:
    """Why this Python cannot be used; None when it can."""
    if version[:2] == WANTED:
        return None
    # No f-string: older Pythons than 3.6 must be able to read this file.
    return "Python %d.%d is needed; this is Python %d.%d." % (*WANTED, *version[:2])  # noqa: UP031  # an old Python must be able to run this


if __name__ == "__main__":
    sys.exit(complaint(tuple(sys.version_info[:3])))
