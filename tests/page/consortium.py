"""Runs in every state in one bucket, and the page over them: what most tests of the page look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import GLOBAL, EndCause, RunInfo, RunState
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.page.visits import serving
from tests.run_writer import START, Script, encode, new_run_id, run_steps, simulated, write_run

#: By name: what happens in the run, and the round after which it is still active, None when it has ended.
SCRIPTS: dict[str, tuple[Script, int | None]] = {
    "offline": (
        Script(
            settings=RunSettings(quorum=2), earlier_runs={"site-1": 35, "site-2": 3}, absent={6: frozenset({"site-3"})}
        ),
        6,
    ),
    "halted": (Script(earlier_runs={"site-1": 38}, last_round=6, state=RunState.HALTED, cause=EndCause.BUDGET), None),
    "refused": (Script(settings=RunSettings(quorum=2), refusals={"site-3": Refusal.BUDGET_EXHAUSTED}), None),
    "finished": (Script(), None),
}


@dataclass
class Consortium:
    """A page over runs in every state."""

    address: str
    api: Api
    #: Run ids by the names of SCRIPTS, and "no public set"; "finished" is the newest.
    runs: dict[str, str]

    def link(self, run: str) -> str:
        """The page of that run."""
        return f"{self.address}/?run={self.runs[run]}"


@contextlib.contextmanager
def showing(emulator: Emulator, folder: Path) -> Iterator[Consortium]:
    """The consortium with an API and a page server of its own, whose logs go to `folder`."""
    store, runs = emulator.store(), {}
    for hours, (name, (script, upto)) in enumerate(SCRIPTS.items()):
        at = START + timedelta(hours=hours)
        runs[name] = write_run(store, new_run_id(at), script, upto=upto, clock=simulated(at))
    runs["no public set"] = _write_without_public_set(store)
    with running(Api.over(store, emulator, folder / "api")) as api, serving(api, folder / "page") as address:
        yield Consortium(address, api, runs)


def _write_without_public_set(store: ObjectStore) -> str:
    """A run that names no public validation set, so that nobody may know its accuracy."""
    at = START - timedelta(hours=1)
    run_id = new_run_id(at)
    for _, objects in run_steps(run_id, clock=simulated(at)):
        kept = {
            key: value.model_copy(update={"public_validation": None}) if isinstance(value, RunInfo) else value
            for key, value in objects.items()
            if f"/{GLOBAL}." not in key
        }
        for key, body in encode(kept).items():
            store.put_once(key, body)
    return run_id
