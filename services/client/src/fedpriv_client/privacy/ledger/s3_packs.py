"""A ledger's log in S3, a thousand objects to the pack, so that opening it takes ten requests and not ten thousand.

A pack is a copy that nobody has to trust. Listing the log, which opening does anyway, tells the ETag of every object,
and S3 gives an object another one when it is written again: a pack is taken only if all of its ETags are those of the
objects that are there. What it holds then goes through the same checks as what the objects hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fedpriv_common.errors import FedprivError
from fedpriv_common.store import ObjectStore

#: Objects of the log in one pack.
PACK_SIZE: Final = 1000


class Packs:
    """The packs of one log, by number: pack n has objects n·PACK_SIZE and those after it."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix

    def read(self, number: int, etags: Sequence[str]) -> list[bytes] | None:
        """The objects' bytes, or None when there is no pack of just these objects; raises STORE_UNAVAILABLE."""
        content = self._objects.get(self._key(number))
        if content is None:
            return None
        try:
            packed = json.loads(content)
            bodies = [body.encode("latin-1") for body in packed["bodies"]]
            return bodies if packed["etags"] == list(etags) and len(bodies) == len(etags) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, number: int, etags: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Leave a pack for who opens the log next; without it, it only takes them longer."""
        # Latin-1 has a character for each byte, whatever they say.
        packed = {"etags": list(etags), "bodies": [body.decode("latin-1") for body in bodies]}
        with suppress(FedprivError):
            self._objects.put_once(self._key(number), json.dumps(packed).encode())

    def _key(self, number: int) -> str:
        return f"{self._prefix}/packs/{number:09d}"
