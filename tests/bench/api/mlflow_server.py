"""MLflow in an environment of its own, over the same figures in SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.emulator import free_port
from tests.waiting import until

PYTHON = ".venv-mlflow/bin/python"
#: Its first start takes a minute on a busy machine.
_START_S = 240.0


@dataclass(frozen=True)
class MLflow:
    """A server that answers; `ids`: of MLflow's runs, a list for each run of the consortium."""

    version: str
    port: int
    pid: int
    ids: list[list[str]]

    def bulk(self, run: int, metric: str) -> str:
        """Every value of a metric of one run's sites."""
        return f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{_runs('run_id', self.ids[run])}&metric_key={metric}"

    def bulk_interval(self, run: int, metric: str) -> str:
        """The same as its own page asks for it: sampled, here to as many points as there are."""
        asked = f"{_runs('run_ids', self.ids[run])}&metric_key={metric}&max_results=2500"
        return f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{asked}"

    def history(self, run: int, site: int, metric: str) -> str:
        """One site's values."""
        return f"/api/2.0/mlflow/metrics/get-history?run_id={self.ids[run][site]}&metric_key={metric}"


def _runs(name: str, ids: list[str]) -> str:
    return "&".join(f"{name}={each}" for each in ids)


def version() -> str:
    """Which MLflow is installed; raises FileNotFoundError when none is."""
    code = "from importlib.metadata import version; print(version('mlflow'))"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def serving(cache: Path) -> Iterator[MLflow]:
    """The server over a store that is filled once and kept in `cache`."""
    installed = version()
    database = _filled(cache, installed)
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHONPATH"))}
    # Background jobs, which nobody asks for here, would be further processes on the same cores.
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [PYTHON, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(cache / "artifacts")]
    with (cache / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: _healthy(port), "MLflow's start", _START_S, tick_s=0.2)
        yield MLflow(installed, port, process.pid, json.loads((cache / f"{database.stem}.json").read_text()))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # its own session: the server and its workers, nobody else
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _filled(cache: Path, installed: str) -> Path:
    """The database; the file with the ids of its runs is written last, so that one without it is begun anew."""
    cache.mkdir(parents=True, exist_ok=True)
    cache = cache.resolve()
    database, ids = cache / f"mlflow-{installed}.db", cache / f"mlflow-{installed}.json"
    if not ids.exists():
        database.unlink(missing_ok=True)
        fill = [PYTHON, "-m", "tests.bench.api.mlflow_fill", str(database)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(fill, env=environment, capture_output=True, text=True, timeout=1800, check=True)
        ids.write_text(done.stdout)
    return database


def _healthy(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
