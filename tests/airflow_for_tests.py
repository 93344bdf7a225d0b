"""Airflow for tests: a home of its own, set before anything imports airflow; removed at the end of the process."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def use_own_home() -> Path:
    """The home of this test process, made once."""
    if "AIRFLOW_HOME" not in os.environ:
        home = tempfile.mkdtemp(prefix="partner-sync-airflow-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
    return Path(os.environ["AIRFLOW_HOME"])
