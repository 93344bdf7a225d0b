"""What of a partner's record may be shown: names, types and lengths, never a value (design, rule 15)."""

from __future__ import annotations

from collections.abc import Mapping


def masked(value: object) -> object:
    """The shape of a value: its type, and for a text its length."""
    if isinstance(value, Mapping):
        return {str(name): masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    if value is None:
        return "null"
    return f"text({len(value)})" if isinstance(value, str) else type(value).__name__
