"""Names for what has been seen: the count of a set of objects and an order-independent digest of their keys.

Two API processes that have read the same objects name that state alike, in whatever order they read them, so an
ETag or an event id of one is good at the other. A bare counter would not do: equal counts can be different objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

_FORMAT = re.compile(r"^([0-9]{1,15})-([0-9a-f]{16})$")


def key_digest(key: str) -> int:
    """64 bits that stand for an object's key."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Seq:
    """`count` objects whose key digests combine, by exclusive or, to `digest`; spelled "17-0123456789abcdef"."""

    count: int = 0
    digest: int = 0

    def plus(self, digest: int) -> Seq:
        """The state after one more object."""
        return Seq(self.count + 1, self.digest ^ digest)

    @classmethod
    def parse(cls, text: str) -> Seq | None:
        """The state that `text` spells, or None when it spells none."""
        matched = _FORMAT.match(text)
        return cls(int(matched[1]), int(matched[2], 16)) if matched else None

    def __str__(self) -> str:
        return f"{self.count}-{self.digest:016x}"
