"""What a ledger needs of its storage: append in order, exclusively, durably."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class LedgerHeldError(OSError):
    """The ledger has been claimed under a newer token: this process is a former holder."""


class OvertakenError(Exception):
    """Another process wrote first: what was decided before its entry must be decided again with it."""


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
        """What is read inside is all there is when `append` succeeds; it is durable on leaving.

        A store either keeps other writers away meanwhile, or lets `append` raise OvertakenError if there was one.
        """
        ...

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Entries with a sequence number above `after`, in order."""
        ...

    def append(self, seq: int, body: bytes, reply: tuple[str, bytes] | None = None) -> None:
        """Add the entry, and with it a reply's digest and bytes; fails if `seq` is taken.

        Only inside `exclusive`, and once. Raises OvertakenError when another process wrote in between.
        """
        ...

    def reply(self, digest: str) -> bytes | None:
        """The stored bytes of a reply."""
        ...

    def close(self) -> None:
        """Release the storage."""
        ...
