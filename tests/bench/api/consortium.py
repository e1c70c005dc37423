"""The figures that both stores hold: 50 runs of 20 sites over 100 rounds, three metrics a record.

Nothing but the standard library: MLflow's own Python reads it too.
"""

from __future__ import annotations

import math

RUNS, SITES, ROUNDS = 50, 20, 100
METRICS = ("accuracy", "loss", "auc")
#: Of all runs and sites; each has a value of every metric.
RECORDS = RUNS * SITES * ROUNDS
#: Of one metric of one run: what one question asks for.
POINTS = SITES * ROUNDS
#: Milliseconds since 1970 of the first run's beginning, between runs, and between rounds.
BEGAN_MS, RUN_MS, ROUND_MS = 1_767_603_600_000, 3_600_000, 2_000


def site_name(site: int) -> str:
    """The site's name, counted from 0."""
    return f"site-{site + 1:02d}"


def at_ms(run: int, site: int, number: int) -> int:
    """When the site's record of round `number` (from 1) of the run was made: milliseconds since 1970."""
    return BEGAN_MS + run * RUN_MS + number * ROUND_MS + site


def values(run: int, site: int, number: int) -> dict[str, float]:
    """The record's metrics: a learning curve with a ripple that makes no two values alike."""
    left = math.exp(-number / (12 + run % 7))
    ripple = 0.01 * math.sin(0.7 * number + site) + 1e-4 * (run + site / 100)
    return {
        "accuracy": 0.93 - 0.31 * left + ripple,
        "loss": 0.21 + 0.47 * left - ripple,
        "auc": 0.97 - 0.2 * left + ripple,
    }
