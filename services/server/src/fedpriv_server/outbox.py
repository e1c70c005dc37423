"""Objects on their way to the bucket, on the server's own disk: S3 may be away for hours and nothing is lost.

What belongs together (a round's records, its close, its checkpoint) is one file, written whole or not at all:

    magic · length of the index (8 bytes, big-endian) · index (JSON: key, content type, size of each) · the bodies

A file appears under its final name after its content is on the disk, and disappears after the bucket has all of it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedpriv_common.errors import ErrorCode, FedprivError

_MAGIC: Final = b"fedpriv-outbox-1"
_SUFFIX: Final = ".bundle"


@dataclass(frozen=True)
class StoredObject:
    """One object for the bucket."""

    key: str
    body: bytes
    content_type: str = "application/json"


class Outbox:
    """A queue of bundles in a folder, first in, first out. Any number of threads may use it."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, made if it is not there; what an earlier process left in it is still to be sent."""
        self._folder = folder
        self._changed = threading.Condition()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob(".*"):
                unfinished.unlink()
            self._waiting = sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}"))
        except (OSError, ValueError) as error:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_STATE_DIR: {folder} cannot be used ({error}).",
                "Give a folder that this user may write, and that nothing else writes to.",
            ) from None
        self._next = self._waiting[-1] + 1 if self._waiting else 0

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    @property
    def next_number(self) -> int:
        """The number that the next bundle will get."""
        with self._changed:
            return self._next

    def add(self, objects: Sequence[StoredObject]) -> int:
        """Append a bundle; on return it survives a crash. Returns its number, which grows from bundle to bundle.

        Raises OSError when the disk does not take it.
        """
        with self._changed:
            number, self._next = self._next, self._next + 1
        path = self._path(number)
        temporary = path.with_name(f".{path.name}")
        try:
            with temporary.open("wb") as file:
                file.writelines(_encode(objects))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            # Whoever tries again does so with another number: what this try wrote would keep a full disk full.
            temporary.unlink(missing_ok=True)
            raise
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with self._changed:
            self._waiting.append(number)
            self._waiting.sort()
            self._changed.notify_all()
        return number

    def oldest(self) -> int | None:
        """The number of the bundle to send next."""
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def read(self, number: int) -> list[StoredObject]:
        """The objects of a bundle, in order; raises ValueError when the file is not one."""
        return _decode(self._path(number).read_bytes())

    def remove(self, number: int) -> None:
        """The bucket has the bundle."""
        self._path(number).unlink(missing_ok=True)
        self._forget(number)

    def set_aside(self, number: int) -> None:
        """Keep a bundle that cannot be read for a person to look at, and go on with the next."""
        path = self._path(number)
        path.replace(path.with_suffix(".damaged"))
        self._forget(number)

    def wait_for_work(self, timeout_s: float) -> bool:
        """Whether there is a bundle, waiting for one if there is none."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), timeout_s)

    def wait_until_sent(self, number: int, timeout_s: float) -> bool:
        """Whether the bucket has the bundle and all before it, waiting for it."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting or self._waiting[0] > number, timeout_s)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether the bucket has everything, waiting for it."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def objects(self) -> Iterator[StoredObject]:
        """Everything that is still here, in order."""
        with self._changed:
            numbers = list(self._waiting)
        for number in numbers:
            try:
                yield from self.read(number)
            except (FileNotFoundError, ValueError):
                continue  # sent meanwhile, or damaged: the writer deals with it

    def _forget(self, number: int) -> None:
        with self._changed:
            self._waiting.remove(number)
            self._changed.notify_all()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}{_SUFFIX}"


def _encode(objects: Sequence[StoredObject]) -> list[bytes]:
    index = json.dumps([[entry.key, entry.content_type, len(entry.body)] for entry in objects]).encode()
    return [_MAGIC, len(index).to_bytes(8, "big"), index, *(entry.body for entry in objects)]


def _decode(data: bytes) -> list[StoredObject]:
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("not a bundle")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    objects = []
    for key, content_type, size in json.loads(data[start:end]):
        objects.append(StoredObject(key, data[end : end + size], content_type))
        end += size
    if end != len(data):
        raise ValueError("the bundle was cut off")
    return objects
