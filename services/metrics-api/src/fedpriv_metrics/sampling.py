"""Few points that do not lie: each bucket of rounds keeps its lowest, highest and last value.

Buckets are aligned to multiples of a power of two, so that a growing series keeps the points it showed: only the
last bucket changes, until the width doubles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Points that a bucket can keep.
PER_BUCKET = 3


def sample(rounds: Sequence[int], values: Sequence[float], points: int) -> list[int]:
    """Positions of at most `points` (≥ 3) of the given points, in order; all of them when they are few enough.

    `rounds` is sorted; a value of NaN (not released) is kept only as the last of its bucket.
    """
    if len(rounds) <= points:
        return list(range(len(rounds)))
    width = 1
    while (rounds[-1] // width - rounds[0] // width + 1) * PER_BUCKET > points:
        width *= 2
    kept: list[int] = []
    start = 0
    while start < len(rounds):
        bucket, end = rounds[start] // width, start
        while end < len(rounds) and rounds[end] // width == bucket:
            end += 1
        known = [place for place in range(start, end) if not math.isnan(values[place])]
        chosen = {end - 1}
        if known:
            chosen |= {min(known, key=values.__getitem__), max(known, key=values.__getitem__)}
        kept += sorted(chosen)
        start = end
    return kept
