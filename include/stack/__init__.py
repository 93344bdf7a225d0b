"""Set-up: starts and keeps the servers, makes roles, databases and links, and drives Airflow's REST API."""
