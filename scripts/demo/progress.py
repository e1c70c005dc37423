"""Starts the demo's run and shows how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunState
from fedpriv_common.settings import read_secret
from fedpriv_server.operator_client import OperatorClient, require_finished
from fedpriv_server.progress import show_progress
from scripts.demo.settings import HOST, SITES, Places, Ports

#: How long the server may be busy with something other than an interrupted run: reading its bucket, say.
_BUSY_S, _PAUSE_S = 30.0, 0.2


def train(console: Console, places: Places, ports: Ports, check: Callable[[], None]) -> str:
    """Run the default recipe over the demo's sites to its end; returns the run's id.

    `check` raises to give up. Raises RUN_FAILED when the run ended in any other way.
    """
    client = OperatorClient(
        server=f"https://{HOST}:{ports.server}",
        key=read_secret(places.hub.operator_key, "operator key"),
        authority=places.hub.authority,
    )
    run_id = _start(console, client, check)
    ended = show_progress(client.follow(run_id, check), console)
    if ended.cause is EndCause.BUDGET:
        raise FedprivError(
            ErrorCode.RUN_FAILED,
            f"The sites declined run {run_id}: with it, the ε of their lifetime would pass its limit.",
            f"That is what ledgers are for. Set FEDPRIV_DEMO_DIR to a new folder to begin others than {places.root}.",
        )
    require_finished(ended)
    return run_id


def _start(console: Console, client: OperatorClient, check: Callable[[], None]) -> str:
    """Start a run, after the one that an earlier demo left unfinished: the server takes that up first."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        check()
        try:
            return client.start(RunSettings(sites=len(SITES)))
        except FedprivError as error:
            if error.code is not ErrorCode.RUN_REFUSED or time.monotonic() > deadline:
                raise
        interrupted = next((run for run in client.runs() if run.state is RunState.ACTIVE), None)
        if interrupted is None:
            time.sleep(_PAUSE_S)
            continue
        console.print(f"Finishing run {interrupted.run_id}, which was interrupted", soft_wrap=True)
        show_progress(client.follow(interrupted.run_id, check), console)
        deadline = time.monotonic() + _BUSY_S
