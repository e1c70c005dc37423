"""`GET /metrics` as the first dashboard reads it: a JSON array of rows, one per round and site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from fedpriv_common.records import GLOBAL
from fedpriv_metrics.columns import NOT_RELEASED, Column, released
from fedpriv_metrics.index import RunIndex, SiteIndex
from fedpriv_metrics.viewer import Viewer

#: Rows of an answer; of a longer run the latest are given.
MOST_ROWS = 20_000
_ANYBODY = Viewer()


def rows(run: RunIndex, viewer: Viewer = _ANYBODY) -> bytes:
    """Rows by round, the global model's first. Its epsilon is the worst so far of the sites that are seen."""
    seen = {site: figures for site, figures in run.figures.items() if viewer.sees(site)}
    worst = _worst_epsilon(seen)
    found: list[tuple[int, bool, str, dict[str, object]]] = []
    for site, figures in seen.items():
        is_global = site == GLOBAL
        epsilons = worst if is_global else _by_round(figures.epsilon_run)
        loss, accuracy = (_by_round(figures.metric(name)) for name in ("loss", "accuracy"))
        for number, at in zip(figures.recorded_at.rounds, figures.recorded_at.values, strict=True):
            row: dict[str, object] = {
                "round": number,
                "loss": loss.get(number),
                "accuracy": accuracy.get(number),
                "epsilon": epsilons.get(number),
                "run_id": run.run_id,
                "site": site,
                "recorded_at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
            }
            found.append((number, not is_global, site, row))
    found.sort(key=lambda entry: entry[:3])
    return json.dumps([row for *_, row in found[-MOST_ROWS:]], separators=(",", ":")).encode()


def _by_round(column: Column) -> dict[int, float | None]:
    return {number: released(value) for number, value in zip(column.rounds, column.values, strict=True)}


def _worst_epsilon(seen: Mapping[str, SiteIndex]) -> dict[int, float | None]:
    """The highest epsilon of any site up to each round; epsilon never shrinks, so absent sites keep theirs."""
    rounds = sorted({number for figures in seen.values() for number in figures.recorded_at.rounds})
    columns = [_by_round(figures.epsilon_run) for figures in seen.values()]
    worst, found = NOT_RELEASED, {}
    for number in rounds:
        for column in columns:
            value = column.get(number)
            if value is not None and not value <= worst:
                worst = value
        found[number] = released(worst)
    return found
