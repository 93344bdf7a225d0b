"""Builds the DAGs of a partner. Everything here runs each time that Airflow reads the DAG folder: it stays light."""

from __future__ import annotations
