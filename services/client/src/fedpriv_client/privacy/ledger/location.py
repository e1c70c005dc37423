"""Where a ledger and its marker are: files of the site's own disk, or objects in S3 (`s3://bucket/prefix`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator

_SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


@dataclass(frozen=True)
class S3Url:
    """A bucket and a key or prefix in it, without a slash at either end."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"


def parse_location(text: object) -> Path | S3Url:
    """A path, or the S3 URL that `text` is; ValueError for an S3 URL that names no bucket or nothing in it."""
    if isinstance(text, S3Url):
        return text
    if not str(text).startswith(_SCHEME):
        return Path(str(text))
    bucket, _, key = str(text).removeprefix(_SCHEME).partition("/")
    key = key.strip("/")
    if not _BUCKET.match(bucket) or not key:
        raise ValueError("expected a path or s3://bucket/prefix")
    return S3Url(bucket, key)


#: A setting that is one or the other.
Location = Annotated[Path | S3Url, BeforeValidator(parse_location)]


def share_storage(ledger: Path | S3Url, marker: Path | S3Url) -> bool:
    """Whether a marker would be lost together with the ledger's objects."""
    if not (isinstance(ledger, S3Url) and isinstance(marker, S3Url)) or ledger.bucket != marker.bucket:
        return False
    return f"{marker.key}/".startswith(f"{ledger.key}/") or f"{ledger.key}/".startswith(f"{marker.key}/")
