"""Partner files: values and named converters, read into typed, frozen models."""

from __future__ import annotations
