"""The report on data quality inside Airflow's UI, under /quality: thin routes over partner_sync.report."""

from __future__ import annotations
