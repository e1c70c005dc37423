"""Fills MLflow's store. Run by MLflow's own Python, from the project's folder:

    .venv-mlflow/bin/python -m tests.bench.api.mlflow_fill DATABASE

One experiment for each run of the consortium, one of MLflow's runs for each site. Everything goes through the store's
own `log_batch`, which takes a whole site's history at once. Prints the ids of each experiment's runs as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlflow.entities import Metric, RunStatus  # type: ignore[import-not-found]
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # type: ignore[import-not-found]

from tests.bench.api.consortium import ROUNDS, RUNS, SITES, at_ms, site_name, values


def fill(database: Path) -> list[list[str]]:
    """The ids of MLflow's runs: a list for each run of the consortium, in the order of its sites."""
    store = SqlAlchemyStore(f"sqlite:///{database}", str(database.with_suffix(".artifacts")))
    ids: list[list[str]] = []
    for run in range(RUNS):
        experiment = store.create_experiment(f"run-{run:02d}")
        ids.append([])
        for site in range(SITES):
            began = at_ms(run, site, 0)
            created = store.create_run(experiment, "bench", began, [], site_name(site))
            history = [
                Metric(name, value, at_ms(run, site, number), number)
                for number in range(1, ROUNDS + 1)
                for name, value in values(run, site, number).items()
            ]
            store.log_batch(created.info.run_id, history, [], [])
            store.update_run_info(created.info.run_id, RunStatus.FINISHED, at_ms(run, site, ROUNDS), None)
            ids[-1].append(created.info.run_id)
    return ids


if __name__ == "__main__":
    print(json.dumps(fill(Path(sys.argv[1]).resolve())))
