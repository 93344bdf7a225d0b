"""Validation of staging slices with Great Expectations, and the quarantine."""

from __future__ import annotations
