"""A ledger opened or begun where its location says: on the site's own disk or in S3."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.location import S3Url
from fedpriv_client.privacy.ledger.marker import FileMarker, Marker, ObjectMarker
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.ledger.store import LedgerStore

if TYPE_CHECKING:
    from fedpriv_common.store import ObjectStore

#: One call to S3, seconds, and how often it is made again before the ledger refuses: well within a round's deadline.
_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 3


def open_ledger(
    ledger: Path | S3Url, marker: Path | S3Url, identity: LedgerIdentity | None = None, kms_key: str | None = None
) -> Ledger:
    """The ledger at a location, verified; raises what its store and `Ledger.open` raise."""
    return Ledger.open(open_store(ledger, kms_key), open_marker(marker, kms_key), identity)


def open_store(location: Path | S3Url, kms_key: str | None = None) -> LedgerStore:
    """Storage that was made before; raises LEDGER_MISSING. The key is needed for writing to S3 only."""
    if isinstance(location, Path):
        return SqliteStore.open(location)
    from fedpriv_client.privacy.ledger.s3 import S3Store  # boto3, which a ledger on disk never needs

    return S3Store.open(_objects(location.bucket, kms_key), location.key)


def create_store(location: Path | S3Url, kms_key: str | None = None) -> LedgerStore:
    """Storage to begin a ledger in, as provisioning does; a bucket must exist."""
    if isinstance(location, Path):
        return SqliteStore.create(location)
    from fedpriv_client.privacy.ledger.s3 import S3Store

    return S3Store(_objects(location.bucket, kms_key), location.key)


def open_marker(location: Path | S3Url, kms_key: str | None = None) -> Marker:
    """The marker at a location, whether it is there or not."""
    if isinstance(location, Path):
        return FileMarker(location)
    return ObjectMarker(_objects(location.bucket, kms_key), location.key)


@cache
def _objects(bucket: str, kms_key: str | None) -> ObjectStore:
    from fedpriv_common.store import ObjectStore

    return ObjectStore.connect(bucket, kms_key or "", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)
