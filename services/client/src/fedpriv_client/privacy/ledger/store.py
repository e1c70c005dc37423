"""What a ledger needs of its storage: append in order, exclusively, durably."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class LedgerHeldError(OSError):
    """The ledger has been claimed under a newer token: this process is a former holder."""


class LedgerStore(Protocol):
    """Append-only storage of entry bodies by sequence number and of reply bytes by digest."""

    def claim(self, token: int) -> int:
        """Shut out every holder with a lower token, for good; returns the highest token of any claim before.

        The claim holds only if that is lower than `token`. From then on `exclusive` raises LedgerHeldError when
        another claim has come after.
        """
        ...

    def shut_out(self) -> bool:
        """Whether another claim has come after this store's own. False for a store that never claimed."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """One writer at a time, over all processes; what is appended inside becomes durable on leaving it."""
        ...

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Entries with a sequence number above `after`, in order."""
        ...

    def append(self, seq: int, body: bytes, reply: tuple[str, bytes] | None = None) -> None:
        """Add the entry, and with it a reply's digest and bytes; fails if `seq` is taken. Only inside `exclusive`."""
        ...

    def reply(self, digest: str) -> bytes | None:
        """The stored bytes of a reply."""
        ...

    def close(self) -> None:
        """Release the storage."""
        ...
