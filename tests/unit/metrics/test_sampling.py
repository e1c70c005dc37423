"""Sampling shows every extreme and keeps what it showed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fedpriv_metrics.sampling import sample

VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=400)


@given(VALUES, st.integers(3, 60), st.integers(0, 1000))
def test_sampling_is_bounded_in_order_and_keeps_the_extremes_and_the_last(
    values: list[float], points: int, first: int
) -> None:
    rounds = list(range(first, first + len(values)))
    kept = sample(rounds, values, points)
    assert len(kept) <= points
    assert kept == sorted(set(kept))
    assert kept[-1] == len(values) - 1
    known = [value for value in values if not math.isnan(value)]
    if known:
        shown = [values[place] for place in kept if not math.isnan(values[place])]
        assert (min(shown), max(shown)) == (min(known), max(known))


def test_few_points_are_all_shown() -> None:
    assert sample([1, 2, 5], [0.1, math.nan, 0.3], 3) == [0, 1, 2]


@given(st.lists(st.floats(-10, 10), min_size=200, max_size=256))
def test_a_growing_series_keeps_the_points_it_showed(values: list[float]) -> None:
    # 100 points of at most 256 rounds: buckets of 8, whose number does not change while the last ones fill.
    rounds = list(range(len(values)))
    whole = set(sample(rounds, values, 100))
    for length in range(193, len(values)):
        part = sample(rounds[:length], values[:length], 100)
        full_buckets = [place for place in part if place < length // 8 * 8]
        assert whole.issuperset(full_buckets)
