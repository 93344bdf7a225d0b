"""Master data in: extract, then merge."""

from __future__ import annotations
