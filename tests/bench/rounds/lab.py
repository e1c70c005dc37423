"""Our own stack: the server, real or light sites, the emulated bucket, and the runs that are measured on them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedpriv_client.cli import init_ledger
from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RoundClosed, RunState
from fedpriv_common.store import ObjectStore
from tests.bench.rounds.measure import Process, cpu_ms, memory_mb
from tests.integration.node_process import REAL, environment
from tests.integration.server_harness import CONTRACT, Server, running
from tests.waiting import until

BUILT_IN = CONTRACT.dataset.partition("@")[0]
START_S = 180.0


@dataclass
class Measured:
    """One run: milliseconds from each round's close to the next one's; of each round, from asking to the new model's
    figures; and of the server's processor time over the whole run, each round's part."""

    run_id: str
    periods_ms: list[float]
    durations_ms: list[float]
    server_cpu_ms: float
    accuracy: float | None


@dataclass
class Lab:
    """A server, and sites that are added to it."""

    server: Server
    tables: Path
    sites: dict[str, Process] = field(default_factory=dict)
    light: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def server_pid(self) -> int:
        """The server's process."""
        assert self.server.process is not None
        return self.server.process.pid

    # -- sites -----------------------------------------------------------------------------------------------------

    def start_sites(self, count: int) -> None:
        """Real sites that share the table, with ledgers on disk; returns when all can train."""
        for number, name in enumerate(self.server.sites[:count]):
            self.sites[name] = self._start_site(name, number, count)
        for name, process in self.sites.items():
            until(lambda process=process: '"ready"' in process.log_path.read_text(), f"{name}'s start", START_S)  # type: ignore[misc]

    def _start_site(self, name: str, number: int, count: int) -> Process:
        folder = self.server.folder / name
        folder.mkdir()
        ledger, marker, key = folder / "ledger.sqlite", folder / "marker.json", self.server.folder / "partition.key"
        _quietly(lambda: init_ledger(str(ledger), str(marker), BUILT_IN, key, number, count))
        settings: dict[str, object] = {
            "site": name,
            "server": f"127.0.0.1:{self.server.port}",
            "ca": self.server.hub.authority,
            "node_key": self.server.node_key(name),
            "contract": BUILT_IN,
            "data": self.tables / "records.csv",
            "ledger": ledger,
            "ledger_marker": marker,
            "site_key": key,
            "partition": number,
            "partitions": count,
            "state_dir": folder / "state",
            "prometheus_port": 0,
            "log_level": "DEBUG",
        }
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        return Process.start(REAL, environment(settings) | threads, folder / "site.log")

    def start_light(self, names: Sequence[str]) -> None:
        """Light sites in one process; returns when the server sees them."""
        state = self.server.folder / "light"
        keys_of = [f"{name}={self.server.node_key(name)}" for name in names]
        command = [sys.executable, "-m", "tests.bench.rounds.light", str(self.server.hub.folder), str(self.server.port)]
        with (self.server.folder / "light.log").open("ab") as log:
            self.light.append(
                subprocess.Popen(
                    [*command, str(state), *keys_of],
                    env=environment({}),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            )
        wanted = {f'"site_online", "site": "{name}"' for name in names}
        until(lambda: all(each in self.server.log for each in wanted), f"{len(names)} light sites", START_S)

    def stop_sites(self) -> None:
        """End every site."""
        for process in self.light:
            assert process.stdin is not None
            process.stdin.close()
        for site in self.sites.values():
            site.stop()
        for process in self.light:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    # -- runs ------------------------------------------------------------------------------------------------------

    def run(self, settings: RunSettings, on_round: Callable[[int], None] = lambda _: None) -> Measured:
        """Do a run to its end; `on_round` is told of each change of its status."""
        before = cpu_ms(self.server_pid)
        run_id = self.server.client.start(settings)
        for status in self.server.client.follow(run_id):
            on_round(status.round)
        assert status.state is RunState.FINISHED, f"{status.state}: {status.cause}\n{self.server.log[-3000:]}"
        return self.measured(run_id, cpu_ms(self.server_pid) - before)

    def measured(self, run_id: str, server_cpu_ms: float = 0.0) -> Measured:
        """What a run that has ended took; of the server's processor time, `server_cpu_ms`."""
        status = self.server.client.status(run_id)
        closed = [self._closed(run_id, number) for number in range(1, status.rounds + 1)]
        ends = [each.closed_at.timestamp() for each in closed]
        return Measured(
            run_id=run_id,
            periods_ms=[1e3 * (end - start) for start, end in itertools.pairwise(ends)],
            durations_ms=[each.duration_ms for each in closed],
            server_cpu_ms=server_cpu_ms / status.rounds,
            accuracy=status.metrics.get("accuracy"),
        )

    def run_by_command(self, settings: dict[str, str]) -> tuple[str, float]:
        """`fedpriv run --follow`: the run's id, and seconds until the command ended with all of the run in S3."""
        command = [str(Path(sys.executable).parent / "fedpriv"), "run", "--follow"]
        command += [part for name, value in settings.items() for part in (f"--{name}", value)]
        told = {
            "FEDPRIV_SERVER": f"https://127.0.0.1:{self.server.port}",
            "FEDPRIV_CA": str(self.server.hub.authority),
            "FEDPRIV_OPERATOR_KEY": str(self.server.hub.operator_key),
        }
        began = time.perf_counter()
        done = subprocess.run(
            command, env=environment({}) | told, capture_output=True, text=True, timeout=120, check=False
        )
        took_s = time.perf_counter() - began
        assert done.returncode == 0, done.stdout + done.stderr
        run_id = done.stdout.split()[0]
        for key in (keys.model(run_id), keys.statement(run_id)):
            assert self.server.store.get(key) is not None, f"{key} is not in the bucket"
        return run_id, took_s

    def _closed(self, run_id: str, number: int) -> RoundClosed:
        body = until(lambda: self.server.store.get(keys.round_closed(run_id, number)), f"the close of round {number}")
        assert body is not None
        return RoundClosed.model_validate_json(body)

    # -- steps -----------------------------------------------------------------------------------------------------

    def steps(self, run_ids: Sequence[str]) -> dict[str, float]:
        """Median milliseconds of each step of a training round, from the logs of the server and of its sites.

        Of the sites' steps, those of the site that a round waited for longest. `transport` is what is left of asking
        when that site's own time is taken off: messages, signatures, TLS, Flower's state, and waiting for a core.
        """
        asked = _steps_by_round(self.server.log, "round_steps", run_ids)
        answered = [
            _steps_by_round(site.log_path.read_text(), "request_steps", run_ids) for site in self.sites.values()
        ]
        gathered: dict[str, list[float]] = {}
        for where, server in asked.items():
            sites = [each[where] for each in answered if where in each]
            slowest = max(sites, key=lambda each: each["total"])
            row = {f"server: {name}": ms for name, ms in server.items() if name not in ("total", "ask")}
            row["server: rest"] = server["total"] - sum(ms for name, ms in server.items() if name != "total")
            row |= {f"site: {name}": ms for name, ms in slowest.items() if name != "total"}
            row["transport"] = server["ask"] - slowest["total"]
            row["whole"] = server["total"]
            for name, ms in row.items():
                gathered.setdefault(name, []).append(ms)
        return {name: statistics.median(values) for name, values in gathered.items()}

    def memory(self) -> dict[str, float]:
        """Resident memory now, MB."""
        now = {"server": memory_mb(self.server_pid)}
        return now | {name: memory_mb(site.popen.pid) for name, site in self.sites.items()}

    def peak(self) -> dict[str, float]:
        """Resident memory at its peak, MB; of sites the largest one's."""
        of_sites = [memory_mb(site.popen.pid, "VmHWM") for site in self.sites.values()]
        return {"server": memory_mb(self.server_pid, "VmHWM"), "site": max(of_sites, default=0.0)}


@contextmanager
def lab(folder: Path, store: ObjectStore, tables: Path, sites: Sequence[str]) -> Iterator[Lab]:
    """A server that is running, with these sites on its allow-list."""
    folder.mkdir()
    extra = {"FEDPRIV_VALIDATION": str(tables / "public-validation.csv"), "FEDPRIV_LOG_LEVEL": "DEBUG"}
    with ExitStack() as stack:
        server = stack.enter_context(running(Server(folder, store, extra, sites=tuple(sites))))
        made = Lab(server, tables)
        stack.callback(made.stop_sites)
        yield made


def _steps_by_round(log: str, message: str, run_ids: Sequence[str]) -> dict[tuple[str, int], dict[str, float]]:
    """Steps and `total` of each training round."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for line in log.splitlines():
        if f'"message": "{message}"' not in line:
            continue
        entry: dict[str, Any] = json.loads(line)
        trains = message == "round_steps" or (entry["operation"] == "release" and entry["phase"] == "train")
        if trains and entry["run_id"] in run_ids:
            found[entry["run_id"], entry["round"]] = {**entry["steps_ms"], "total": entry["total_ms"]}
    return found


def _quietly(action: Callable[[], object]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        action()
