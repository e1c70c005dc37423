"""The genesis marker: the proof, kept apart from the ledger's storage, that a ledger was begun, and which one.

It makes a loss look like a loss: a marker without its ledger, or with another one, is refused.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedpriv_client.privacy.ledger.entries import Genesis
from fedpriv_common.canonical import canonical_json
from fedpriv_common.errors import ErrorCode, FedprivError

if TYPE_CHECKING:
    from fedpriv_common.store import ObjectStore


class Marker(Protocol):
    """Where a marker is kept. Its text form says where that is."""

    def read(self) -> bytes | None:
        """The content, or None when there is none."""
        ...

    def write(self, content: bytes) -> None:
        """Write it, durably; one that is there already is kept."""
        ...


class FileMarker:
    """A marker in a file, on another volume than the ledger."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> bytes | None:
        """The file's bytes, if it is there."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        """Make the file unless it is there; a crash or a full disk leaves all of it or nothing."""
        if self._path.exists():
            return
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f".{self._path.name}.{secrets.token_hex(4)}"
        try:
            with written.open("xb") as file:
                file.write(content + b"\n")
                file.flush()
                os.fsync(file.fileno())
            written.replace(self._path)  # two that begin one ledger at the same time write the same
        finally:
            written.unlink(missing_ok=True)
        synced = os.open(folder, os.O_RDONLY)
        os.fsync(synced)
        os.close(synced)


class ObjectMarker:
    """A marker in S3, under another prefix or in another bucket than the ledger."""

    def __init__(self, objects: ObjectStore, key: str) -> None:
        self._objects = objects
        self._key = key

    def __str__(self) -> str:
        return f"s3://{self._objects.bucket}/{self._key}"

    def read(self) -> bytes | None:
        """The object's bytes, if it is there; raises STORE_UNAVAILABLE."""
        return self._objects.get(self._key)

    def write(self, content: bytes) -> None:
        """Put the object unless it is there; raises STORE_UNAVAILABLE."""
        try:
            self._objects.put_once(self._key, content)
        except FedprivError as error:
            if error.code is not ErrorCode.STORE_CONFLICT:
                raise


def write_marker(marker: Marker, genesis: Genesis) -> None:
    """Leave the proof that this ledger was begun; a marker that is there already is kept."""
    content = {"genesis": genesis.hash(), "dataset": genesis.dataset, "partition": genesis.partition}
    marker.write(canonical_json(content))


def read_marker(marker: Marker) -> str:
    """The genesis hash that the marker names; raises LEDGER_INVALID without one."""
    try:
        content = marker.read()
        if content is not None:
            return str(json.loads(content)["genesis"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise FedprivError(
        ErrorCode.LEDGER_INVALID,
        f"There is no genesis marker at {marker}.",
        "A ledger without its marker may be a copy: restore the marker, or ask who moved the ledger.",
    )
