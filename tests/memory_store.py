"""A bucket in memory with S3's rules: consistent, write-once, listed by key; for tests that need thousands of steps.

Requests can be made to fail: `fail_after(n)` lets the next n through and refuses those after them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import Listed, ObjectStore

_PAGE = 1000


class MemoryStore(ObjectStore):
    """An `ObjectStore` without S3 behind it. `hidden`: parts of keys that are not there for this view of it."""

    def __init__(self, objects: dict[str, bytes] | None = None, hidden: tuple[str, ...] = ()) -> None:
        super().__init__(client=None, bucket="memory", kms_key_id="none")
        object.__setattr__(self, "objects", {} if objects is None else objects)
        object.__setattr__(self, "_hidden", hidden)
        object.__setattr__(self, "_left", [None])
        object.__setattr__(self, "_lock", threading.Lock())

    objects: dict[str, bytes]
    _hidden: tuple[str, ...]
    _left: list[int | None]
    _lock: threading.Lock

    def fail_after(self, requests: int | None) -> None:
        """Let this many requests through, and refuse the others; None: refuse none."""
        self._left[0] = requests

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """As in S3."""
        self._request()
        body = self.objects.get(key) if self._visible(key) else None
        return body if body is None or most is None else body[: most + 1]

    def list_entries(self, prefix: str, start_after: str = "") -> Iterator[Listed]:
        """As in S3: what is written while pages are asked for may be in the later ones."""
        after = start_after
        while True:
            self._request()
            found = sorted(k for k in list(self.objects) if k.startswith(prefix) and k > after and self._visible(k))
            for key in found[:_PAGE]:
                body = self.objects[key]
                yield Listed(key, hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body))
            if len(found) <= _PAGE:
                return
            after = found[_PAGE - 1]

    def list_folders(self, prefix: str, start_after: str = "") -> list[str]:
        """As in S3."""
        self._request()
        names = {key.removeprefix(prefix).partition("/")[0] for key in list(self.objects) if key.startswith(prefix)}
        return sorted(name for name in names if name > start_after)

    def _create(self, key: str, body: bytes, content_type: str) -> bool:
        self._request()
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = body
            return True

    def _visible(self, key: str) -> bool:
        return not any(part in key for part in self._hidden)

    def _request(self) -> None:
        with self._lock:
            left = self._left[0]
            if left is None:
                return
            if left == 0:
                raise FedprivError(ErrorCode.STORE_UNAVAILABLE, "The bucket is away.", "Wait.")
            self._left[0] = left - 1
