"""Figures, not tests: ``python -m benchmarks`` measures and prints them; nothing here passes or fails."""

from __future__ import annotations
