"""The stack that faults strike: as a person starts it, with a hold on its processes and disks that can be filled."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import httpx

from tests.containers.stack import ROOT, STARTS, Stack, docker
from tests.faults.cases import ROUNDS, SITES, Case
from tests.waiting import until

#: A folder for each project, which its containers see as /hold/control: a folder for each, where moments are armed.
CONTROL: Final = ROOT / "var" / "faults"
#: Privacy of each run: so little that one ledger pays for all cases several times over.
EPSILON, EVALUATION_EPSILON = 0.2, 0.02
#: How long a killed site is waited for, seconds: its lease runs out (15), and it imports torch.
ROUND_DEADLINE_S: Final = 90.0

_BUCKET = """
import base64, json, sys, boto3
s3, found = boto3.client("s3"), {}
for page in s3.get_paginator("list_object_versions").paginate(Bucket="fedpriv-metrics", Prefix=sys.argv[1]):
    for entry in page.get("Versions", []):
        found.setdefault(entry["Key"], []).append(entry["VersionId"])
    if page.get("DeleteMarkers"):
        raise SystemExit("something was deleted")
body = lambda key: base64.b64encode(s3.get_object(Bucket="fedpriv-metrics", Key=key)["Body"].read()).decode()
print(json.dumps({key: [len(versions), body(key)] for key, versions in found.items()}))
"""


@dataclass(frozen=True)
class Stored:
    """An object of the bucket, and how often it was written."""

    versions: int
    body: bytes


class FaultStack(Stack):
    """A project with a server, three sites, a metrics API and the emulator of AWS."""

    def __init__(self, project: str) -> None:
        super().__init__(project)
        ours = Path(__file__).with_name("compose.yml")
        self._control = CONTROL / project
        self._environment["COMPOSE_FILE"] = f"{ROOT / 'docker-compose.yml'}:{ours}"

    def begin(self) -> None:
        """Bring it up, with nothing left of an earlier one."""
        self.down("--volumes", "--remove-orphans")
        shutil.rmtree(self._control, ignore_errors=True)
        self._control.mkdir(parents=True)
        self._control.chmod(0o755)
        self.must("up", "--detach", "--no-build", "--scale", "client=3", "server", "client", "metrics-api")
        for service in ("server", *(f"client-{number}" for number in (1, 2, 3))):
            folder = self.folder(service)
            folder.mkdir()
            folder.chmod(0o777)  # the services' user is another one than the test's

    def adopt(self) -> None:
        """Go on with the containers that there are."""
        published = docker("port", self.container("metrics-api"), "8000/tcp").split()[0]
        self.api = f"http://{published}"
        self._environment["FEDPRIV_API_PORT"] = published.rsplit(":", 1)[1]

    def named(self, service: str) -> str:
        """A container's name, of `server` or `client-2`."""
        return f"{self.project}-{service if service[-1].isdigit() else service + '-1'}"

    @cached_property
    def keeper(self) -> str:
        """The container that nothing ever happens to."""
        return self.container("keeper")

    def healthy(self, container: str) -> bool:
        """Whether its own health check says so."""
        return bool(self.inspect(container)["State"].get("Health", {}).get("Status") == "healthy")

    def holders(self) -> dict[str, str]:
        """Service (`client-2`) by site, once every site is online and has torch; else what there is of it."""
        found = {}
        for number in (1, 2, 3):
            site, online, ready = None, False, False
            for entry in self.log(self.named(f"client-{number}")):
                match entry["message"]:
                    case "partition_taken":
                        site, online, ready = f"site-{entry['partition']}", False, False
                    case "online":
                        online = True
                    case "offline" | "standing_by" | "partition_released":
                        online = False
                    case "ready":
                        ready = True
            if site is not None and online and ready:
                found[site] = f"client-{number}"
        return found

    def settle(self) -> dict[str, str]:
        """Service by site, once all of the product is well."""
        for service in ("server", "metrics-api", "aws"):
            until(partial(self.healthy, self.container(service)), f"{service} is healthy", STARTS, 0.2)
        return until(
            lambda: found if set(found := self.holders()) == set(SITES) else None, "three sites online", STARTS, 0.5
        )

    # -- moments ---------------------------------------------------------------------------------------------------

    def folder(self, service: str) -> Path:
        """Where a container's moments are armed. A container keeps its host name when it is started again."""
        return self._control / str(self.inspect(self.named(service))["Config"]["Hostname"])

    @contextmanager
    def armed(self, services: list[str], case: Case) -> Iterator[Callable[[float], None]]:
        """Hold these services at the case's moment; gives what waits, so many seconds, for all to have reached it.

        They go on when the block ends.
        """
        folders = [self.folder(service) for service in services]
        for folder in folders:
            written = folder / ".armed"
            written.write_text(json.dumps({"moment": case.when, "round": case.round}))
            written.replace(folder / "armed")
        try:
            yield lambda seconds: until(
                lambda: all((folder / "reached").exists() for folder in folders),
                f"{case.when} of round {case.round} at {', '.join(services)}",
                seconds,
                0.005,
            )
        finally:
            for folder in folders:
                (folder / "armed").unlink(missing_ok=True)
                (folder / "reached").unlink(missing_ok=True)

    # -- runs ------------------------------------------------------------------------------------------------------

    def follow(self, case: Case, name: str) -> subprocess.Popen[str]:
        """Start the case's run, and follow it as an operator does."""
        command = [
            *("docker", "exec", self.keeper, "fedpriv", "run", "--follow", f"--name={name}"),
            *(f"--rounds={ROUNDS}", f"--quorum={case.quorum}", f"--round-deadline={ROUND_DEADLINE_S:g}"),
            *(f"--epsilon={EPSILON}", f"--evaluation-epsilon={EVALUATION_EPSILON}"),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def objects(self, prefix: str) -> dict[str, Stored]:
        """Everything in the bucket below a prefix."""
        found = json.loads(docker("exec", self.keeper, "python", "-c", _BUCKET, prefix))
        return {key: Stored(versions, base64.b64decode(body)) for key, (versions, body) in found.items()}

    def asked(self, path: str) -> Any:
        """An answer of the metrics API; None while it gives none."""
        try:
            answer = httpx.get(f"{self.api}{path}", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == httpx.codes.OK else None

    def auditor_keys(self, folder: Path) -> None:
        """Copy the public keys that an auditor is given."""
        docker("cp", f"{self.keeper}:/auditor/.", str(folder))

    def exported(self) -> dict[str, list[dict[str, Any]]]:
        """Every site's ledger, verified and exported by the site's own command."""

        def export(site: str) -> list[dict[str, Any]]:
            partition = site.removeprefix("site-")
            lines = docker(
                "exec", self.named(services[site]), "fedpriv", "ledger", "export", "--partition", partition, timeout=60
            )
            return [json.loads(line) for line in lines.splitlines()]

        services = self.settle()
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(SITES, pool.map(export, SITES), strict=True))
