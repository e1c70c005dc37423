"""API keys: a file of their SHA-256 digests, read again when it changes.

    {"keys": [{"name": "radiology", "role": "site", "site": "site-1", "sha256": "9f86…", "expires": null}]}

A key has 256 random bits, so its digest needs neither salt nor stretching: nobody finds the key from it. The file is
written by `fedpriv-metrics key` (key_commands.py). One that cannot be read any more changes nothing: the last good one
stays in force, and the log says so, because a half-written file must neither shut everybody out nor bring revoked keys
back.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import GLOBAL, SiteName
from fedpriv_metrics.viewer import Role, Viewer

log = logging.getLogger(__name__)

#: How keys begin, so that scanners for leaked secrets can tell what they found.
PREFIX: Final = "fpk_"
#: Characters of a presented key; longer ones are none of ours, and are not hashed.
MAX_KEY: Final = 128
#: Seconds between looks at the file: how long a revoked key may still be good.
LOOK_S: Final = 1.0
#: Keys in one file; every request compares with each.
MAX_KEYS: Final = 1000


class Entry(BaseModel):
    """One key: who holds it, what they may read, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="who holds it; in logs and `/v1/me`")
    ]
    role: Role
    site: SiteName | None = Field(default=None, description="of the role site: which one")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="digest of the key, hexadecimal")]
    expires: AwareDatetime | None = Field(default=None, description="when it stops being good; null: never")

    @model_validator(mode="after")
    def _has_a_site(self) -> Entry:
        if (self.role is Role.SITE) != (self.site is not None) or self.site == GLOBAL:
            raise ValueError("a key of the role site names its site, and no other key names one")
        return self

    def viewer(self) -> Viewer:
        """Who presents this key."""
        return Viewer(site=self.site, role=self.role, name=self.name, expires=self.expires)


class KeyFile(BaseModel):
    """All keys. Names and digests are unique."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Annotated[tuple[Entry, ...], Field(max_length=MAX_KEYS)]

    @model_validator(mode="after")
    def _unique(self) -> KeyFile:
        for values in ([entry.name for entry in self.keys], [entry.sha256 for entry in self.keys]):
            if len(set(values)) != len(values):
                raise ValueError("a name or a digest is there twice")
        return self


def new_key() -> str:
    """A fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What the file holds of a key."""
    return sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> KeyFile:
    """The file's keys; raises BAD_KEY when it is not there, not of the form, or may be written by others."""
    try:
        mode, text = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"Cannot read the API keys at {path} ({error.strerror}).",
            "`fedpriv-metrics key add NAME --role ROLE` makes the file.",
        ) from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"The API keys at {path} may be written by others than their owner.",
            f"Whoever writes there lets himself in: see who did, then chmod 600 {path}.",
        )
    try:
        return KeyFile.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "file"
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"The API keys at {path}: {where}: {fault['msg']}.",
            "Restore the file, or move it away and add the keys again.",
        ) from None


class Keyring:
    """The keys of a file, as it was when it last could be read."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises as `read_keys`."""
        self._path, self._clock = path, clock
        self._mark = self._marked()
        self._keys = read_keys(path)
        self._looked_at = clock()

    def __len__(self) -> int:
        return len(self._keys.keys)

    def viewer(self, key: str) -> Viewer | None:
        """Who holds this key, or None when nobody does, or does no more."""
        self._look()
        if len(key) > MAX_KEY:
            return None
        presented, found = digest(key), None
        # All of them, whether or not one has matched: how long it takes tells nothing.
        for entry in self._keys.keys:
            if hmac.compare_digest(presented, entry.sha256):
                found = entry
        if found is None or (found.expires is not None and found.expires <= datetime.now(UTC)):
            return None
        return found.viewer()

    def holds(self, viewer: Viewer) -> bool:
        """Whether the key that this viewer came with is still good: asked again during long streams."""
        self._look()
        now = datetime.now(UTC)
        return any(
            entry.viewer() == viewer and (entry.expires is None or entry.expires > now) for entry in self._keys.keys
        )

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        mark = self._marked()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._keys = read_keys(self._path)
            log.info("API keys were read again", extra={"keys": len(self._keys.keys)})
        except FedprivError as error:
            log.error("API keys stay as they were", extra={"why": str(error)})

    def _marked(self) -> tuple[int, int, int, int] | None:
        """What changes when the file does."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode
