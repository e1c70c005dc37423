"""Watches the demo's programs: a dead one ends the demo, an emulator that lost its keys gets them again."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from fedpriv_common.errors import ErrorCode, FedprivError
from scripts.demo import programs, ready
from scripts.demo.first_use import prepare_storage
from scripts.demo.settings import HOST, Ports
from scripts.demo.supervise import Status, Supervisor

_INTERVAL_S = 0.5
#: A program that is started this often within so many seconds has a fault of its own; someone who kills it has not.
MAXIMUM_STARTS, STARTS_WINDOW_S = 5, 60.0


class Watch:
    """A thread that looks at every program twice a second. `check` raises what it found."""

    def __init__(self, supervisor: Supervisor, ports: Ports, relaunch_storing: Callable[[str], None]) -> None:
        self._supervisor = supervisor
        self._ports = ports
        self._relaunch_storing = relaunch_storing
        self._starts: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAXIMUM_STARTS))
        self._pids: dict[str, int] = {}
        self._kms_key: str | None = None
        self._repaired_pid = 0
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; programs that end from here on are meant to."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> None:
        """Wait for something to go wrong, for ever if nothing does, and raise it."""
        self._ended.wait()
        self.check()

    def check(self) -> None:
        """Raise what went wrong, if something did."""
        if self._failure is not None:
            raise self._failure

    def keep_storage(self, kms_key: str) -> None:
        """From now on, see to it that the emulator has the bucket's key and rules after a crash."""
        self._repaired_pid = self._supervisor.statuses()[programs.EMULATOR_NAME].pid
        self._kms_key = kms_key

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            try:
                self._look(self._supervisor.statuses())
            except OSError:
                continue  # supervisord is going; the next look tells
            except Exception as error:  # a watch that ends unseen would be worse than any fault
                self._failure = error
                self._ended.set()

    def _look(self, statuses: dict[str, Status]) -> None:
        for status in statuses.values():
            if status.dead:
                raise self._supervisor.died(status)
            if status.pid and status.pid != self._pids.get(status.name):
                self._pids[status.name] = status.pid
                starts = self._starts[status.name]
                starts.append(time.monotonic())
                if len(starts) == MAXIMUM_STARTS and starts[-1] - starts[0] < STARTS_WINDOW_S:
                    raise self._supervisor.died(status)
        emulator = statuses[programs.EMULATOR_NAME]
        restarted = self._kms_key is not None and emulator.pid not in (0, self._repaired_pid)
        if restarted and ready.answers(f"http://{HOST}:{self._ports.aws}/_ministack/health"):
            self._repair(emulator.pid)

    def _repair(self, emulator_pid: int) -> None:
        """Killed, the emulator forgets keys and rules but no objects. Who stores learns the new key's name."""
        try:
            storage = prepare_storage()
        except FedprivError as error:
            if error.code is not ErrorCode.STORE_UNAVAILABLE:
                raise
            return  # it went away again; the next look tells
        self._repaired_pid = emulator_pid
        if storage.kms_key != self._kms_key:
            self._kms_key = storage.kms_key
            self._relaunch_storing(storage.kms_key)
