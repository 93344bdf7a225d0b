"""The core of partner sync: knows HTTP, Postgres and the rules; has never heard of Airflow."""

from __future__ import annotations
