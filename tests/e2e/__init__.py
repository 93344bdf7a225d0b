"""Tests on a live Airflow, which is there for this package only."""
