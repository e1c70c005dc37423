"""What one run writes, in order, off the way of its rounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from fedpriv_common.errors import FedprivError
from fedpriv_server.archive import Archive
from fedpriv_server.outbox import StoredObject

#: How long the bucket is waited for before the disk alone has to do, seconds.
_BUCKET_PATIENCE_S: Final = 5.0


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
        self._last: asyncio.Task[int] | None = None
        #: What the disk has not taken yet: it goes with the next bundle, or a run that fails for it would never end.
        self._unsaved: list[StoredObject] = []
        #: A bundle that the bucket was waited for in vain with.
        self._overdue: int | None = None

    def write(self, objects: Sequence[StoredObject], *, for_good: bool = False) -> None:
        """Begin to write a bundle after those before it. `for_good`: a full disk is waited for until the server stops,
        and `settled` raises nothing before."""
        fresh = [entry for entry in objects if entry.key not in self._known]
        if fresh:
            self._last = asyncio.create_task(self._save(self._last, fresh, for_good))

    async def settled(self) -> None:
        """Return when everything is durable; raises DISK_FULL when it cannot be made so."""
        if self._last is not None:
            await asyncio.shield(self._last)

    async def in_bucket(self) -> bool:
        """Whether everything is in the bucket, waiting a while for it. It is durable in any case: see `settled`.

        A bucket that was waited for in vain is waited for again only when it has taken what it did not take then.
        """
        if self._last is None:
            return True
        number = await asyncio.shield(self._last)
        if self.behind():
            return False
        if not await asyncio.to_thread(self._archive.wait_until_sent, number, _BUCKET_PATIENCE_S):
            self._overdue = number
        return self._overdue is None

    def behind(self) -> bool:
        """Whether the bucket still has not taken what it was waited for in vain with. Does not wait."""
        if self._overdue is not None and self._archive.wait_until_sent(self._overdue, 0.0):
            self._overdue = None
        return self._overdue is not None

    async def _save(self, previous: asyncio.Task[int] | None, objects: list[StoredObject], for_good: bool) -> int:
        if previous is not None:
            with contextlib.suppress(FedprivError):
                await previous
        self._unsaved += objects
        number = await asyncio.to_thread(self._archive.put, tuple(self._unsaved), for_good=for_good)
        self._unsaved.clear()
        return number
