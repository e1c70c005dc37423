"""What must hold before anything is started. Each fault is one line; nothing has been started or written then."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from fedpriv_common.errors import ErrorCode, FedprivError
from scripts.demo.settings import HOST, ROOT

#: Logs, emulator and results of many demos; an environment's full disk shows itself long before.
MINIMUM_FREE_BYTES = 500 * 10**6
#: Programs of a demo that was killed need this long to notice and end.
LOCK_PATIENCE_S = 15.0

EMULATOR = ROOT / ".venv-emulator" / "bin" / "ministack"
VITE = ROOT / "dashboard" / "node_modules" / "vite" / "bin" / "vite.js"
PAGE = ROOT / "dashboard" / "dist" / "index.html"


def check_tools(paths: tuple[Path, ...] = (EMULATOR, VITE, PAGE)) -> None:
    """Raise MISSING_TOOL unless `make setup` has been run."""
    missing = [str(path.relative_to(ROOT)) for path in paths if not path.exists()]
    if missing:
        raise FedprivError(ErrorCode.MISSING_TOOL, f"Not set up: {', '.join(missing)}.", "Run `make setup`.")


def check_disk(folder: Path, minimum: int = MINIMUM_FREE_BYTES) -> None:
    """Raise DISK_FULL when fewer than `minimum` bytes are free where `folder` is or will be."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < minimum:
        raise FedprivError(
            ErrorCode.DISK_FULL,
            f"{free // 10**6} MB are free at {existing}, {minimum // 10**6} MB are needed.",
            "Make room, or set FEDPRIV_DEMO_DIR to a folder on another disk.",
        )


def check_ports(ports: Mapping[str, int]) -> None:
    """Raise PORT_IN_USE, naming every port of `ports` (use → number) that is taken and, where known, by what."""
    taken = [f"port {port}, for {use}, is in use{_holder(port)}" for use, port in ports.items() if _in_use(port)]
    if taken:
        raise FedprivError(
            ErrorCode.PORT_IN_USE,
            f"{'; '.join(taken)}.".capitalize(),
            "Stop what uses it, or set FEDPRIV_DEMO_PORT_BASE to the first of nine free ports.",
        )


def take_lock(path: Path, patience: float = LOCK_PATIENCE_S) -> int:
    """Take the demo's lock for the life of this process; returns its descriptor.

    Programs of a demo that was killed hold it until they have ended, so success means that nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip()
            # A living demo will not let go; only the programs of a dead one are worth waiting for.
            if time.monotonic() > deadline or (holder.isdigit() and _alive(int(holder))):
                os.close(descriptor)
                raise FedprivError(
                    ErrorCode.PORT_IN_USE,
                    f"Another demo{f' (process {holder})' if holder else ''} runs in {path.parent.parent}.",
                    "End it with Ctrl-C, or set FEDPRIV_DEMO_DIR and FEDPRIV_DEMO_PORT_BASE for a second one.",
                ) from None
            time.sleep(0.1)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as probe:
        # As the servers do: connections of a demo that has just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    """ " by python (process 123)", where Linux tells; else nothing."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        listening = "0A"
        sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == listening and int(row[1][-4:], 16) == port}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            if any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir()):
                return f" by {(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue  # it has just ended, or belongs to someone else
    return ""
