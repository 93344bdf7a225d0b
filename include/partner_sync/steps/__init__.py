"""The steps of a run, each over several organizations: who goes on, who stops, who waits. No Airflow in here."""

from __future__ import annotations
