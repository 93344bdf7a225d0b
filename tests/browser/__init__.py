"""The quality pages in a real Chromium, on a live Airflow that is there for this package only."""
