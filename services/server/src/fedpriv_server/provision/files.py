"""Files that appear whole or not at all, with the mode they were meant to have from their first byte on."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

#: Only the owner may read a private key or a secret.
PRIVATE = 0o600
PUBLIC = 0o644


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Create `path` and its parents; an existing directory keeps its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)


def create(path: Path, content: bytes, mode: int = PRIVATE) -> bool:
    """Write a new file durably; returns False, and changes nothing, when there is one already.

    A hard link is the one call that both publishes a finished file and refuses to replace another.
    """
    temporary = _write_beside(path, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_directory(path.parent)
    return True


def replace(path: Path, content: bytes, mode: int = PUBLIC) -> bool:
    """Make the file hold `content`; returns False when it already does."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return False
    _write_beside(path, content, mode).replace(path)
    _sync_directory(path.parent)
    return True


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
