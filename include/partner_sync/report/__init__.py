"""The report on data quality, as the pages and files of people show it: read only, from the views of schema report."""

from __future__ import annotations
