"""The demo from the first check to the last process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from scripts.demo import first_use, preflight, programs, ready, report
from scripts.demo.progress import train
from scripts.demo.settings import HOST, SITES, Places, Ports
from scripts.demo.stop import Stopped
from scripts.demo.supervise import Supervisor
from scripts.demo.watch import Watch

_START_DEADLINE_S = 120.0


def run_demo(console: Console, places: Places, ports: Ports, *, once: bool) -> None:
    """Start everything, train, report; then stay until Ctrl-C, or leave when `once`. Nothing is left running."""
    preflight.check_tools()
    preflight.check_disk(places.root)
    lock = preflight.take_lock(places.lock)
    try:
        preflight.check_ports(ports.by_use())
        first_use.use_emulator(ports)
        if not places.hub.operator_key.exists():
            console.print(f"First use: keys, tables and ledgers go to {report.near(places.root)}")
        first_use.prepare_files(places)
        supervisor = Supervisor(places)
        try:
            _run(console, places, ports, supervisor, once=once)
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                console.print("Stopping")
            supervisor.stop()
    finally:
        os.close(lock)


def _run(console: Console, places: Places, ports: Ports, supervisor: Supervisor, *, once: bool) -> None:
    def launch_storing(kms_key: str) -> None:
        supervisor.launch(programs.server(places, ports, kms_key))
        supervisor.launch(programs.metrics_api(places, ports, kms_key))

    watch = Watch(supervisor, ports, launch_storing)
    try:
        _start(console, places, ports, supervisor, watch, launch_storing)
        run_id = train(console, places, ports, watch.check)
        run, privacy = report.read_run(ports, run_id, watch.check)
        ledgers = first_use.export_ledgers(places)
        report.export_statement(places, run_id)
        report.write_result(places, run, privacy, ledgers)
        report.print_result(console, places, ports, run, privacy, ledgers, once=once)
        if not once:
            console.print("\nEverything stays up until Ctrl-C.")
            _stay(watch)
    finally:
        watch.stop()


def _stay(watch: Watch) -> None:
    """Until Ctrl-C, which is how a demo ends well, or until a program dies for good."""
    try:
        watch.wait()
    except Stopped as stopped:
        if stopped.number != signal.SIGINT:
            raise


def _start(
    console: Console,
    places: Places,
    ports: Ports,
    supervisor: Supervisor,
    watch: Watch,
    launch_storing: Callable[[str], None],
) -> None:
    """Start all programs at once; server and API as soon as they know the KMS key."""
    began = time.monotonic()
    sites = [programs.site(places, ports, number) for number in range(len(SITES))]
    # What they wait for is not known yet, but supervisord wants to hear of every program at its start.
    later = [programs.server(places, ports, kms_key=""), programs.metrics_api(places, ports, kms_key="")]
    supervisor.start([programs.emulator(places, ports), programs.dashboard(ports), *sites], later)
    watch.start()

    def wait(what: str, holds: Callable[[], bool]) -> None:
        ready.until(holds, what, deadline=_START_DEADLINE_S, check=watch.check)
        console.print(f"{what} ready after {time.monotonic() - began:.1f} s")

    def answers(url: str, authority: Path | None = None) -> Callable[[], bool]:
        return lambda: ready.answers(url, authority)

    def sites_are_ready() -> bool:
        return all(ready.site_is_ready(f"http://{HOST}:{port}/metrics") for port in ports.site_prometheus)

    with console.status("Starting"):
        wait("AWS emulator", answers(f"http://{HOST}:{ports.aws}/_ministack/health"))
        storage = first_use.prepare_storage()
        launch_storing(storage.kms_key)
        watch.keep_storage(storage.kms_key)
        wait("Metrics API", answers(f"http://{HOST}:{ports.api}/readyz"))
        page = f"http://{HOST}:{ports.dashboard}"
        wait(f"Dashboard {page}", answers(page))
        wait("Server", answers(f"https://{HOST}:{ports.server}/health", places.hub.authority))
        wait("Sites", sites_are_ready)
