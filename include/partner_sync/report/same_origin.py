"""Whether a browser's request comes from our own page (Fetch Metadata; the Origin field where a browser sends none)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def is_ours(headers: Mapping[str, str], *, hosts: Collection[str]) -> bool:
    """True only for what is known to be ours: Sec-Fetch-Site says so, or Origin names one of ``hosts`` (with port).

    Browsers send Sec-Fetch-Site over HTTPS and to this machine only, and Origin with every POST.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(headers.get("origin", "")).netloc in hosts if headers.get("origin") else False
