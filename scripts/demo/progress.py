"""Starts the demo's run and shows how it goes."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from fedpriv_common.plan import RunSettings
from fedpriv_common.settings import read_secret
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.progress import show_progress
from scripts.demo.settings import HOST, SITES, Places, Ports


def train(console: Console, places: Places, ports: Ports, check: Callable[[], None]) -> str:
    """Run the default recipe over the demo's sites to its end; returns the run's id. `check` raises to give up."""
    client = OperatorClient(
        server=f"https://{HOST}:{ports.server}",
        key=read_secret(places.hub.operator_key, "operator key"),
        authority=places.hub.authority,
    )
    run_id = client.start(RunSettings(sites=len(SITES)))
    show_progress(client.follow(run_id, check), console)
    return run_id
