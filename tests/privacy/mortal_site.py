"""The real site in a process that a test may kill at any moment: forked from one that has imported everything.

A child answers requests over a socket, one after another, and waits after each reply for its acknowledgement, as a
node does. Nothing of the product is replaced: ledger and trainer are watched from outside, and the child writes where
it is into one byte of shared memory, which outlives it.

    python -m tests.privacy.mortal_site SOCKET STAGE_FILE        settings in FEDPRIV_*, as the site's own
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, wraps
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from fedpriv_common.wire import Reply, Request
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Stage(IntEnum):
    """Where a child is. SEND lasts from the commit to the last byte of the reply, ACK until that is acknowledged."""

    START = 0
    ADMIT = 1
    RESERVE = 2
    TRAIN = 3
    COMMIT = 4
    SEND = 5
    ACK = 6


SITE_STAGES = tuple(stage for stage in Stage if stage is not Stage.START)


# -- the test's end ------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """One process of the site."""

    pid: int
    connection: Connection

    def ask(self, request: Request) -> None:
        """Put a request; the answer comes with `reply`."""
        self.connection.send(request.to_fields())

    def reply(self, seconds: float = 60.0) -> Reply | None:
        """The reply, or None when the child died before it was whole."""
        try:
            assert self.connection.poll(seconds), "the site does not answer"
            return Reply.from_fields(self.connection.recv())
        except (EOFError, ConnectionError):
            return None

    def acknowledge(self) -> None:
        """The reply has arrived."""
        with contextlib.suppress(ConnectionError):
            self.connection.send(True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not _exists(self.pid), f"the end of {self.pid}", tick_s=0.001)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class MortalSite:
    """Starts children, and tells where the current one is."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self._socket, stage_file = folder / "site.socket", folder / "stage"
        stage_file.write_bytes(bytes(1))
        with stage_file.open("r+b") as file:
            self._stage = mmap.mmap(file.fileno(), 1)
        self.log = folder / "site.log"
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "tests.privacy.mortal_site", self._socket, stage_file),
                env={**os.environ, **threads, **settings},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._socket.exists() or self._process.poll() is not None, "the imports")
        assert self._process.poll() is None, self.log.read_text()

    @property
    def stage(self) -> Stage:
        """Where the child is, or was when it died."""
        return Stage(self._stage[0])

    def start(self, token: int | None = None) -> Child:
        """A new process of the site; with a token, it claims the ledger as a holder of the partition's lease."""
        self._stage[0] = Stage.START
        connection = Client(str(self._socket))
        connection.send(token)
        return Child(connection.recv(), connection)

    def end(self) -> None:
        """End the process that children come from; a child ends with its connection."""
        self._process.kill()
        self._process.wait(20)


@contextlib.contextmanager
def mortal_site(folder: Path, settings: dict[str, str]) -> Iterator[MortalSite]:
    """A MortalSite that is gone afterwards."""
    site = MortalSite(folder, settings)
    try:
        yield site
    finally:
        site.end()


# -- the site's end ------------------------------------------------------------------------------------------------


def main(socket: str, stage_file: str) -> None:
    """Import, then fork a child for each connection."""
    import fedpriv_client.training  # noqa: F401 - as a site does before it is asked
    from fedpriv_client import assemble

    # Read once, like the imports: only what the site keeps is of interest here.
    assemble.load_contract = cache(assemble.load_contract)  # type: ignore[assignment]
    assemble.load_contract(os.environ["FEDPRIV_CONTRACT"])
    with Path(stage_file).open("r+b") as file:
        stage = mmap.mmap(file.fileno(), 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is waited for
    listening = Listener(f"{socket}.new", "AF_UNIX")
    Path(f"{socket}.new").rename(socket)  # there once it can be connected to
    while True:
        connection = listening.accept()
        if os.fork() == 0:
            try:
                serve(connection, stage)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        connection.close()


def serve(connection: Connection, stage: mmap.mmap) -> None:
    """What `fedpriv-site` does, with a socket for the server."""
    from fedpriv_client.assemble import assemble
    from fedpriv_client.settings import SiteSettings
    from fedpriv_common.settings import load_settings

    watch(stage)
    token = connection.recv()
    connection.send(os.getpid())
    with contextlib.suppress(EOFError):  # the test has ended
        site = assemble(load_settings(SiteSettings).for_partition(0), None if token is None else lease(token)).site
        while True:
            reply = site.handle(Request.from_fields(connection.recv()))
            stage[0] = Stage.SEND
            connection.send(reply.to_fields())
            stage[0] = Stage.ACK
            connection.recv()
            stage[0] = Stage.START


def lease(token: int) -> Any:
    """A lease as its table would have given it; nobody else wants it."""
    from fedpriv_client.lease import Lease, LeaseTable, clock

    return Lease(LeaseTable("none", "none", 1, 600.0), "holder", 0, token, clock())


def watch(stage: mmap.mmap) -> None:
    """Have ledger and trainer leave a trace of where they are."""
    from fedpriv_client.privacy.ledger.ledger import Ledger, Reserved
    from fedpriv_client.training import Trainer

    def traced(owner: type, name: str, begins: Stage, ends: Callable[[object], Stage]) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            stage[0] = begins
            result = original(*arguments, **named)
            stage[0] = ends(result)
            return result

        setattr(owner, name, wrapper)

    traced(Ledger, "admit", Stage.ADMIT, lambda _: Stage.SEND)
    traced(Ledger, "reserve", Stage.RESERVE, lambda it: Stage.TRAIN if isinstance(it, Reserved) else Stage.SEND)
    traced(Trainer, "release", Stage.TRAIN, lambda _: Stage.COMMIT)
    traced(Ledger, "commit", Stage.COMMIT, lambda _: Stage.SEND)
    traced(Ledger, "close", Stage.COMMIT, lambda _: Stage.SEND)


if __name__ == "__main__":
    main(*sys.argv[1:])
