"""The faults. Each begins at once and has ended when its block ends, ten seconds later where it lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.containers.stack import STARTS, docker
from tests.faults.cases import Case
from tests.faults.stack import FaultStack
from tests.waiting import until

#: How long a fault lasts that ends by itself, seconds.
LASTS_S: Final = 10.0

_FILL = """
import os, sqlite3, sys
# A ledger's log keeps the space that it once took, and for a while would need no more.
ledger = sys.argv[1] + "/ledger.sqlite"
if os.path.exists(ledger):
    busy, *_ = sqlite3.connect(ledger, timeout=10).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy
path, part = sys.argv[1] + "/.filler", b"x" * 65536
with open(path, "wb", buffering=0) as file:
    for size in (65536, 4096, 1):
        try:
            while file.write(part[:size]) == size:
                pass
        except OSError:
            continue
left = os.statvfs(sys.argv[1])
assert left.f_bavail == 0, left
"""
_EMPTY = "import os, sys; os.remove(sys.argv[1] + '/.filler')"


@contextmanager
def struck(stack: FaultStack, case: Case, service: str) -> Iterator[None]:
    """The case's fault, at a service such as `client-2`: from the beginning of the block to its end."""
    container = stack.named(service)
    match case.fault:
        case "kill":
            # A service that is killed soon after its start is started again after a pause that doubles each time.
            before = stack.inspect(container)["RestartCount"]
            stack.kill_inside(container)
            yield
            until(lambda: stack.inspect(container)["RestartCount"] > before, f"{service} is started again", STARTS)
        case "sigterm":
            docker("stop", container)
            try:
                yield
            finally:
                docker("start", container)
                until(lambda: stack.healthy(container), f"{service} is healthy again", STARTS, 0.2)
        case "pause":
            docker("pause", container)
            try:
                yield
                _last()
            finally:
                docker("unpause", container)
        case "disconnect":
            with _cut_off(stack, container):
                yield
                _last()
        case "disk-full":
            # The metrics API has no disk but its /tmp, which lives in its own memory.
            keeper, folder = (container, "/tmp") if case.kind == "metrics-api" else (stack.keeper, _disk(case))  # noqa: S108
            docker("exec", keeper, "python", "-c", _FILL, folder)
            try:
                yield
                _last()
            finally:
                docker("exec", keeper, "python", "-c", _EMPTY, folder)


@contextmanager
def _cut_off(stack: FaultStack, container: str) -> Iterator[None]:
    """Without a network; afterwards with the names that it had there."""
    had = stack.inspect(container)["NetworkSettings"]["Networks"]
    for network in had:
        docker("network", "disconnect", network, container)
    try:
        yield
    finally:
        for network, settings in had.items():
            names = [part for alias in settings["Aliases"] or () for part in ("--alias", alias)]
            docker("network", "connect", *names, network, container)


def _disk(case: Case) -> str:
    return f"/disks/{'server' if case.target == 'server' else case.target.removeprefix('site-')}"


def _last() -> None:
    """Let the fault last. The only fixed time here: it is what the fault is."""
    threading.Event().wait(LASTS_S)
