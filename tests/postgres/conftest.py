"""The fixtures ``postgres`` and ``database`` come from tests/conftest.py."""
