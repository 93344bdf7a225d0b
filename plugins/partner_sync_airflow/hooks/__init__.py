"""Hooks: what Airflow's connections say, as the core wants it."""

from __future__ import annotations
