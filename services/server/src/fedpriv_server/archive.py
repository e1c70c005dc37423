"""Everything that was ever written: the bucket, and what is still on its way there."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_server.outbox import Outbox, StoredObject

log = logging.getLogger(__name__)

#: How long a full disk is waited for, seconds, before the run fails.
_DISK_PATIENCE_S: Final = 600.0


class Archive:
    """Reads see what was put, whether or not it has reached the bucket. Calls block: use them off the event loop."""

    def __init__(self, store: ObjectStore, outbox: Outbox, disk_patience_s: float = _DISK_PATIENCE_S) -> None:
        """`disk_patience_s`: how long a full disk is waited for."""
        self._store = store
        self._outbox = outbox
        self._disk_patience_s = disk_patience_s
        self._abandoned = threading.Event()

    def put(self, objects: Sequence[StoredObject], *, for_good: bool = False) -> int:
        """Hand over a bundle; on return it is durable. Returns its number in the outbox.

        A full disk is waited for, `for_good` until `stop`; raises DISK_FULL in the end.
        """
        deadline, pause_s = time.monotonic() + (math.inf if for_good else self._disk_patience_s), 0.2
        while True:
            try:
                return self._outbox.add(objects)
            except OSError as error:
                log.warning("outbox_unavailable", extra={"reason": str(error)})
                if time.monotonic() + pause_s > deadline or self._abandoned.is_set():
                    raise FedprivError(
                        ErrorCode.DISK_FULL,
                        f"The server's state folder takes nothing more ({error.strerror}).",
                        "Free space on its disk: what has not been written is, then.",
                    ) from None
            self._abandoned.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, 10.0)

    def wait_until_sent(self, number: int, timeout_s: float) -> bool:
        """Whether the bucket has the bundle of this number and all before it, waiting for it."""
        return self._outbox.wait_until_sent(number, timeout_s)

    def stop(self) -> None:
        """Wait for a full disk no longer."""
        self._abandoned.set()

    def get(self, key: str) -> bytes | None:
        """An object's bytes, or None; raises STORE_UNAVAILABLE."""
        for entry in self._outbox.objects():
            if entry.key == key:
                return entry.body
        return self._store.get(key)

    def keys(self, prefix: str) -> list[str]:
        """Every key below `prefix`, in order; raises STORE_UNAVAILABLE."""
        # The bucket is read after the outbox: an object that moves meanwhile is seen twice rather than never.
        waiting = {entry.key for entry in self._outbox.objects() if entry.key.startswith(prefix)}
        return sorted(waiting.union(self._store.list_keys(prefix)))

    def run_ids(self) -> list[str]:
        """Every run, oldest first; raises STORE_UNAVAILABLE."""
        waiting = {
            entry.key.removeprefix(keys.RUNS).partition("/")[0]
            for entry in self._outbox.objects()
            if entry.key.startswith(keys.RUNS)
        }
        return sorted(waiting.union(self._store.list_folders(keys.RUNS)))
