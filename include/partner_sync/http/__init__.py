"""HTTP to partners: one client, one table of outcomes, no secret in any text."""

from __future__ import annotations
