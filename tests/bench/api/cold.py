"""An API that starts over history: how long until it answers, and how much memory the history takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedpriv_common.store import ObjectStore
from tests.bench.rounds.measure import cpu_ms, memory_mb
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running


@dataclass(frozen=True)
class Cold:
    """Medians over some starts. Seconds and MB are what a full bucket takes more than an empty one; `requests`: to S3
    until ready; `start_s`: of the empty one."""

    records: int
    starts: int
    load_s: float
    load_largest_s: float
    cpu_s: float
    more_mb: float
    peak_mb: float
    process_mb: float
    start_s: float
    requests: int


@dataclass(frozen=True)
class _Start:
    seconds: float
    cpu_s: float
    mb: float
    peak_mb: float
    requests: int


def cold(
    empty: ObjectStore,
    full: ObjectStore,
    emulator: Emulator,
    folder: Path,
    records: int,
    starts: int,
    deadline_s: float,
) -> Cold:
    """Start over either bucket in turns."""
    base: list[_Start] = []
    loaded: list[_Start] = []
    for _ in range(starts):
        base.append(_start(empty, emulator, folder, deadline_s))
        loaded.append(_start(full, emulator, folder, deadline_s))
    more_s = [one.seconds - other.seconds for one, other in zip(loaded, base, strict=True)]
    return Cold(
        records=records,
        starts=starts,
        load_s=statistics.median(more_s),
        load_largest_s=max(more_s),
        cpu_s=_median([each.cpu_s for each in loaded]) - _median([each.cpu_s for each in base]),
        more_mb=_median([each.mb for each in loaded]) - _median([each.mb for each in base]),
        peak_mb=_median([each.peak_mb for each in loaded]),
        process_mb=_median([each.mb for each in loaded]),
        start_s=_median([each.seconds for each in base]),
        requests=loaded[-1].requests,
    )


def _start(store: ObjectStore, emulator: Emulator, folder: Path, deadline_s: float) -> _Start:
    api = Api.over(store, emulator, folder / "cold.log", POLL_SECONDS="0.5", LOG_LEVEL="WARNING")
    began = time.monotonic()
    with running(api, deadline_s):
        assert api.process is not None
        seconds, pid = time.monotonic() - began, api.process.pid
        asked = sum(value for name, value in api.prometheus().items() if name.startswith("fl_s3_requests_total"))
        return _Start(seconds, cpu_ms(pid) / 1000, memory_mb(pid), memory_mb(pid, "VmHWM"), int(asked))


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
