"""Operators: what Airflow has to say about a step, and nothing else; the steps are in partner_sync.steps."""

from __future__ import annotations
