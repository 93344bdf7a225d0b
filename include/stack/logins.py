"""The database's roles: one owner that nobody logs in as, one login a writer (design, 4)."""

from __future__ import annotations

DATABASE = "partner_sync"
OWNER = "partner_sync_owner"
#: Reads the report's views with a BI tool; handed out to people.
ANALYST = "sync_analyst"
WRITERS = (
    "sync_extract",
    "sync_validate",
    "sync_merge",
    "sync_onboarding",
    "sync_product",
    "sync_release",
    "sync_push",
    "sync_run",
    "sync_reader",
    ANALYST,
    "sync_page",
)

#: Airflow's own metadata: another database, another login.
AIRFLOW_DATABASE = "airflow"
AIRFLOW_LOGIN = "airflow"
