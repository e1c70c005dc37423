"""One `docker compose` project of the product, with everything a test wants to ask it or do to it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.emulator import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("server", "client", "metrics-api", "dashboard")
#: Seconds; on a quiet machine each of these takes a few.
STARTS, RUN_ENDS = 120.0, 120.0


def docker(*arguments: str, timeout: float = 120.0, check: bool = True) -> str:
    """Standard output of a docker command."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
    )
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    output: str


class Stack:
    """A project of its own: other names, volumes and ports than the ones that a person uses."""

    def __init__(self, project: str) -> None:
        self.project = project
        api, page = free_port(), free_port()
        self.api, self.page = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{page}"
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": project,
            "FEDPRIV_API_PORT": str(api),
            "FEDPRIV_DASHBOARD_PORT": str(page),
        }

    def compose(self, *arguments: str, timeout: float = 300.0) -> Done:
        """A docker compose command, whatever comes of it."""
        done = subprocess.run(
            ["docker", "compose", "--progress", "quiet", *arguments],
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def must(self, *arguments: str, timeout: float = 300.0) -> str:
        """The output of a docker compose command that has to succeed."""
        done = self.compose(*arguments, timeout=timeout)
        assert done.status == 0, f"docker compose {' '.join(arguments)}: {done.status}\n{done.output}"
        return done.output

    def up(self, sites: int = 3) -> None:
        """`docker compose up` with so many sites, until every condition that services wait for holds."""
        self.must("up", "--detach", "--no-build", "--scale", f"client={sites}")

    def down(self, *options: str) -> None:
        """`docker compose down`."""
        self.must("down", *options)

    # -- containers ------------------------------------------------------------------------------------------------

    def container(self, service: str, number: int = 1) -> str:
        """A container's name."""
        return f"{self.project}-{service}-{number}"

    def sites(self) -> list[str]:
        """Names of the site containers that run, in order."""
        return sorted(self.must("ps", "--format", "{{.Name}}", "client").split())

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        return json.loads(docker("inspect", container))[0]

    def exit_status(self, container: str, seconds: float = RUN_ENDS) -> int:
        """The exit status of a job, once it has ended."""
        return int(docker("wait", container, timeout=seconds))

    def python(self, container: str, code: str) -> str:
        """Output of Python code inside a container."""
        return docker("exec", container, "python", "-c", code).strip()

    def kill_inside(self, container: str) -> None:
        """kill -9 of the service's process, as a crash does it; `docker kill` would count as a person's stop."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", container).strip()
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), 9)

    # -- sites -----------------------------------------------------------------------------------------------------

    def log(self, container: str) -> list[dict[str, Any]]:
        """Entries of a container's log, over all its starts."""
        done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True, timeout=60)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]

    def partition(self, container: str) -> int | None:
        """The partition that a site container holds by its own word; None while it stands by."""
        held = None
        for entry in self.log(container):
            if entry["message"] == "partition_taken":
                held = entry["partition"]
            elif entry["message"] in ("standing_by", "partition_released"):
                held = None
        return held

    def settled(self, sites: int) -> dict[str, int | None]:
        """Partition by site container, once there are so many and each has said what it has."""

        def told() -> dict[str, int | None] | None:
            names = self.sites()
            said = {name: [entry["message"] for entry in self.log(name)] for name in names}
            ready = all("ready" in messages or "standing_by" in messages for messages in said.values())
            return {name: self.partition(name) for name in names} if len(names) == sites and ready else None

        return until(told, f"{sites} sites that are ready", STARTS)

    def ledger(self, partition: int) -> list[dict[str, Any]]:
        """A partition's ledger, verified and exported by a site container; one that is not frozen."""
        ours = [f"label=com.docker.compose.project={self.project}", "label=com.docker.compose.service=client"]
        filters = [part for value in (*ours, "status=running") for part in ("--filter", value)]
        awake = docker("ps", "--format", "{{.Names}}", *filters).split()
        lines = docker("exec", awake[-1], "fedpriv", "ledger", "export", "--partition", str(partition))
        return [json.loads(line) for line in lines.splitlines()]

    # -- runs ------------------------------------------------------------------------------------------------------

    def run(self, *options: str) -> str:
        """Another run, to its end; returns its id. It has to finish."""
        output = self.must("run", "--rm", "-T", "run", *options, timeout=RUN_ENDS)
        assert "finished" in output, output
        return next(line for line in output.splitlines() if len(line) == 26 and line.isalnum())

    def get(self, path: str) -> Any:
        """An answer of the metrics API, through the page's address as the page asks for it."""
        return httpx.get(f"{self.page}/api{path}", timeout=10, trust_env=False).raise_for_status().json()

    def finished(self) -> list[dict[str, Any]]:
        """Runs that have finished, oldest first, by the metrics API."""
        return [run for run in reversed(self.get("/v1/runs")["runs"]) if run["state"] == "finished"]
