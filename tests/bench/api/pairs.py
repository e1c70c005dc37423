"""The same 2,000 points from both stores, in turns; and what the API's other answers cost beside them."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.api.consortium import METRICS, POINTS, ROUNDS
from tests.bench.api.corpus import run_id
from tests.bench.api.mlflow_server import MLflow
from tests.bench.api.wire import Answer, Connection
from tests.bench.rounds.measure import p90

#: The run that is asked for; one in the middle.
RUN = 25
#: In each cycle a quick question is asked so often, a slow one once.
QUICK_EACH = 10

Ask = Callable[[], Answer]


@dataclass
class Pairs:
    """Milliseconds of every request by what was asked; and by cycle, the median of each."""

    times: dict[str, list[float]] = field(default_factory=dict)
    cycles: list[dict[str, float]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])

    def p90(self, name: str) -> float:
        return p90(self.times[name])

    def ratio(self, above: str, below: str) -> tuple[float, float, float]:
        """How much longer one takes than another, cycle by cycle: the median, the lowest and the highest decile."""
        ratios = [cycle[above] / cycle[below] for cycle in self.cycles]
        if len(ratios) < 2:
            return ratios[0], ratios[0], ratios[0]
        tenths = statistics.quantiles(ratios, n=10, method="inclusive")
        return statistics.median(ratios), tenths[0], tenths[-1]


HEALTH, CACHED, UNCACHED, NOT_MODIFIED = "healthz", "2,000 points", "2,000 points, not kept", "304"
ONE_SERIES, SEED = "one site's 100 points", "GET /metrics of the seed, 2,000 rows"
MLFLOW_HEALTH, BULK, INTERVAL = "MLflow /health", "MLflow get-history-bulk", "MLflow get-history-bulk-interval"
MLFLOW_ONE = "MLflow get-history, one run's 100 points"


def measure(port: int, mlflow: MLflow, cycles: int) -> Pairs:
    """Ask everybody in turns, in an order that changes from cycle to cycle."""
    ours, theirs = Connection(port), Connection(mlflow.port)
    points = f"/v1/runs/{run_id(RUN)}/metrics/accuracy"
    etag = ours.get(points).headers["etag"]
    last_rounds = itertools.count(ROUNDS + 1)
    quick: dict[str, Ask] = {
        HEALTH: lambda: ours.get("/healthz"),
        CACHED: lambda: ours.get(points),
        # Each a question that nobody has asked before, with the same answer.
        UNCACHED: lambda: ours.get(f"{points}?max_round={next(last_rounds)}"),
        NOT_MODIFIED: lambda: ours.get(points, {"If-None-Match": etag}),
        ONE_SERIES: lambda: ours.get(f"{points}?site=site-03"),
        SEED: lambda: ours.get(f"/metrics?run_id={run_id(RUN)}"),
        MLFLOW_HEALTH: lambda: theirs.get("/health"),
    }
    slow: dict[str, Ask] = {
        BULK: lambda: theirs.get(mlflow.bulk(RUN, METRICS[0])),
        INTERVAL: lambda: theirs.get(mlflow.bulk_interval(RUN, METRICS[0])),
        MLFLOW_ONE: lambda: theirs.get(mlflow.history(RUN, 2, METRICS[0])),
    }
    _agree(quick[CACHED](), slow[BULK](), slow[INTERVAL]())
    for ask in itertools.chain(quick.values(), slow.values()):
        ask()  # connections, caches and pools are warm from here on
    found, order = Pairs(), random.Random(7)
    for _ in range(cycles):
        turns = [(name, ask) for name, ask in quick.items() for _ in range(QUICK_EACH)] + list(slow.items())
        order.shuffle(turns)
        cycle: dict[str, list[float]] = {}
        for name, ask in turns:
            answer = ask()
            assert answer.status == (304 if name == NOT_MODIFIED else 200), f"{name}: {answer.status}"
            cycle.setdefault(name, []).append(answer.ms)
            found.sizes[name] = len(answer.body)
        for name, times in cycle.items():
            found.times.setdefault(name, []).extend(times)
        found.cycles.append({name: statistics.median(times) for name, times in cycle.items()})
    ours.close()
    theirs.close()
    return found


def _agree(ours: Answer, *theirs: Answer) -> None:
    """Both stores tell the same 2,000 values, or the comparison is of nothing."""
    told = sorted(value for series in json.loads(ours.body)["series"] for value in series["values"])
    assert len(told) == POINTS
    for each in theirs:
        others = sorted(metric["value"] for metric in json.loads(each.body)["metrics"])
        assert len(others) == POINTS
        assert max(abs(one - other) for one, other in zip(told, others, strict=True)) < 1e-9
