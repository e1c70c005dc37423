"""Numbers as a person reads them: spent is never understated, remaining never overstated.

Numbers that travel, to the API, Prometheus, records and statements, are exact; these are for text.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

#: Enough for every float in full, so that no value is too large to be rounded.
_EXACT = Context(prec=400)


def round_up(epsilon: float, digits: int = 2) -> float:
    """Epsilon spent, rounded up; exact on the decimal spelling, so 0.94 stays 0.94."""
    return float(_rounded(epsilon, digits, ROUND_CEILING))


def round_down(epsilon: float, digits: int = 2) -> float:
    """Epsilon remaining, rounded down."""
    return float(_rounded(epsilon, digits, ROUND_FLOOR))


def spell_spent(epsilon: float, digits: int = 2) -> str:
    """Epsilon that has been spent, or would be: rounded up."""
    return f"{_rounded(epsilon, digits, ROUND_CEILING):f}" if math.isfinite(epsilon) else "∞"


def spell_left(epsilon: float, digits: int = 2) -> str:
    """Epsilon that remains, and any bound from below: rounded down, 0 where a limit is passed."""
    return f"{_rounded(max(0.0, epsilon), digits, ROUND_FLOOR):f}" if math.isfinite(epsilon) else "0"


def spell_limit(epsilon: float) -> str:
    """A limit or target, which somebody typed: two decimals, more only if it has more."""
    shown = _rounded(epsilon, 2, ROUND_FLOOR)
    return f"{shown:f}" if float(shown) == epsilon else repr(epsilon)


def _rounded(value: float, digits: int, rounding: str) -> Decimal:
    if not math.isfinite(value):
        return Decimal(value)
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), rounding, _EXACT)
