"""Kinds of partner: code behind one small interface."""

from __future__ import annotations
