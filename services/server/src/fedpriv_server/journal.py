"""What one run writes, in order, off the way of its rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel

from fedpriv_server.archive import Archive
from fedpriv_server.outbox import StoredObject


def as_object(key: str, value: BaseModel) -> StoredObject:
    """A record as an object of the bucket."""
    return StoredObject(key, value.model_dump_json().encode())


class Journal:
    """Hands bundles to the archive one after another while the event loop goes on."""

    def __init__(self, archive: Archive, known: frozenset[str] = frozenset()) -> None:
        """`known`: keys that an earlier start of the run wrote. They are not written again: what is repeated after a
        crash differs in its times, and the first telling counts."""
        self._archive = archive
        self._known = known
        self._last: asyncio.Task[None] | None = None

    def write(self, objects: Sequence[StoredObject]) -> None:
        """Begin to write a bundle after those before it."""
        fresh = [entry for entry in objects if entry.key not in self._known]
        if fresh:
            self._last = asyncio.create_task(self._save(self._last, fresh))

    async def settled(self) -> None:
        """Return when everything is durable; raises DISK_FULL when it cannot be made so."""
        if self._last is not None:
            await asyncio.shield(self._last)

    async def _save(self, previous: asyncio.Task[None] | None, objects: list[StoredObject]) -> None:
        if previous is not None:
            await previous
        await asyncio.to_thread(self._archive.put, objects)
