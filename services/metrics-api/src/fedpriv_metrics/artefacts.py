"""Files of the bucket that are handed out as they are: got once for all viewers, kept in bounds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.store import ObjectStore

#: Bytes that are kept; a statement has some ten thousand, a model some hundred to some ten thousand.
MOST_BYTES = 16_000_000
#: Seconds for which an object that was not there is not asked for again.
ABSENT_S = 2.0
#: Absent objects that are remembered.
_MOST_ABSENT = 1024


@dataclass(frozen=True, slots=True)
class Artefact:
    """An object's bytes and their SHA-256, hexadecimal."""

    body: bytes
    digest: str


class Artefacts:
    """A cache of write-once objects. Requests to S3 grow with objects, not with viewers: who asks for one that is on
    its way waits for it, and what was not there is not looked for again for a moment."""

    def __init__(
        self, store: ObjectStore | None, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`store`: None where there is no bucket, as in a description of the API; then nothing is ever there."""
        self._store = store
        self._most = most_bytes
        self._clock = clock
        self._size = 0
        self._held: OrderedDict[str, Artefact] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._coming: dict[str, asyncio.Task[Artefact | None]] = {}

    async def get(self, key: str) -> Artefact | None:
        """The object, or None when there is none. Raises STORE_UNAVAILABLE."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            return held
        if self._absent.get(key, -ABSENT_S) > self._clock() - ABSENT_S or self._store is None:
            return None
        coming = self._coming.get(key)
        if coming is None:
            coming = asyncio.get_running_loop().create_task(self._fetch(self._store, key))
            self._coming[key] = coming
            coming.add_done_callback(lambda _: self._coming.pop(key, None))
        # A viewer that goes away must not take the others' answer with it.
        return await asyncio.shield(coming)

    async def _fetch(self, store: ObjectStore, key: str) -> Artefact | None:
        body = await asyncio.to_thread(store.get, key)
        if body is None:
            self._absent[key] = self._clock()
            while len(self._absent) > _MOST_ABSENT:
                self._absent.popitem(last=False)
            return None
        found = Artefact(body, await asyncio.to_thread(sha256_hex, body))
        if len(body) <= self._most:
            self._held[key] = found
            self._size += len(body)
        while self._size > self._most:
            _, dropped = self._held.popitem(last=False)
            self._size -= len(dropped.body)
        return found
