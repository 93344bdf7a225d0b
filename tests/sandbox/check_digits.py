"""Check digits of Japanese care numbers: M10-W21 (modulus 10, weights 2 and 1, digits of the products added)."""

from __future__ import annotations


def check_digit(payload: str) -> str:
    """The M10-W21 digit for a payload; the rightmost payload digit has weight 2."""
    total = 0
    for position, digit in enumerate(reversed(payload)):
        product = int(digit) * (2 if position % 2 == 0 else 1)
        total += product // 10 + product % 10
    return str((10 - total % 10) % 10)


def with_check_digit(payload: str) -> str:
    return payload + check_digit(payload)


def with_wrong_check_digit(number: str) -> str:
    """The same number with its last digit made wrong."""
    return number[:-1] + str((int(number[-1]) + 1) % 10)
