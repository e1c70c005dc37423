"""Numbers as a person reads them: spent is never understated, remaining never overstated."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal


def round_up(epsilon: float, digits: int = 2) -> float:
    """Epsilon spent, rounded up; exact on the decimal spelling, so 0.94 stays 0.94."""
    return float(Decimal(repr(epsilon)).quantize(Decimal(1).scaleb(-digits), ROUND_CEILING))


def round_down(epsilon: float, digits: int = 2) -> float:
    """Epsilon remaining, rounded down."""
    return float(Decimal(repr(epsilon)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))
