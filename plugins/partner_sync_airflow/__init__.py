"""Airflow's face of partner sync: hooks, operators, a trigger, the retry policy and the notifier. Thin by design."""

from __future__ import annotations
