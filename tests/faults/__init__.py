"""Pushes that are killed, cut off and left without a database, judged by partners that count by themselves."""

from __future__ import annotations
