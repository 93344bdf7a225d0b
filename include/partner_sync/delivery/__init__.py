"""Schedules out: release, collect, claim, send, verify."""

from __future__ import annotations
