"""A page over runs that can be checked: a signed statement, one that storage changed, and runs that have none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fedpriv_common import keys
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunState
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.page.visits import serving
from tests.proven_run import BEGUN, ProvenRun
from tests.run_writer import Script, new_run_id, simulated, write_run
from tests.statements import RUN

_LATER = BEGUN + timedelta(days=1)


@dataclass
class Proof:
    """A page, and the ids of its runs by what they show."""

    address: str
    api: Api
    runs: dict[str, str]

    def statement(self, run: str) -> str:
        return f"{self.address}/statement?run={self.runs[run]}"


@contextlib.contextmanager
def proving(emulator: Emulator, folder: Path, proven: ProvenRun, *, with_keys: bool = True) -> Iterator[Proof]:
    """The page over `proven` and, without heads that contradict it, over runs that have no statement."""
    store, runs = emulator.store(), {"proven": RUN}
    proven.put(store)
    nobody = {"site-4": 0, "site-5": 0}
    others = {
        "active": (Script(sites=tuple(nobody), settings=RunSettings(quorum=2, sites=2)), 2),
        "cancelled": (
            Script(
                sites=("site-8", "site-9", "site-6"),
                settings=RunSettings(quorum=2),
                refusals={"site-6": Refusal.LEDGER_ROLLED_BACK},
                last_round=0,
                state=RunState.CANCELLED,
                cause=EndCause.OPERATOR,
            ),
            None,
        ),
    }
    for hours, (name, (script, upto)) in enumerate(others.items()):
        at = _LATER + timedelta(hours=hours)
        runs[name] = write_run(store, new_run_id(at), script, upto=upto, clock=simulated(at))
    # Ended, with a model, and its statement still to come.
    at = _LATER + timedelta(hours=9)
    runs["awaited"] = write_run(store, new_run_id(at), Script(sites=("site-7",), settings=RunSettings(sites=1)))
    settings = {"AUDITOR_KEYS": str(proven.hand_out_keys(folder / "auditor"))} if with_keys else {}
    with (
        running(Api.over(store, emulator, folder / "api", **settings)) as api,
        serving(api, folder / "page") as address,
    ):
        yield Proof(address, api, runs)


def tampered(proven: ProvenRun) -> ProvenRun:
    """The same run, whose statement in the bucket says another epsilon than the one that was signed."""
    body = proven.objects[keys.statement(RUN)]
    return proven.replaced(keys.statement(RUN), body.replace(b'"max_run_epsilon":3.0', b'"max_run_epsilon":9.0', 1))
