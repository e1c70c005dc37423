"""Put-once objects in S3, encrypted with a customer-managed KMS key.

`If-None-Match: *` makes a second writer lose, and comparing digests then tells a repetition from a conflict:

    writer A   put ───────────> 200
    writer B        put ──────────> 412 ─> get, same bytes: already there (fine); other: STORE_CONFLICT

The same comparison settles a put whose answer was lost: the repetition meets 412 and finds its own bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError

#: How often a put is tried while others of the same key are under way and fail.
_SETTLE_ATTEMPTS = 3


class PutOutcome(StrEnum):
    """How a put-once ended when it did not fail."""

    CREATED = "created"
    ALREADY_THERE = "already_there"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing; its size is in bytes."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True)
class ObjectStore:
    """A bucket and the KMS key that its objects are encrypted with."""

    client: Any
    bucket: str
    kms_key_id: str

    @classmethod
    def connect(cls, bucket: str, kms_key_id: str, *, timeout_s: float = 10.0, attempts: int = 3) -> ObjectStore:
        """A store on the S3 of the environment. A key that is named by its alias (`alias/…`) is looked up once:

        S3's own rules, such as the bucket's policy, compare ARNs. Raises STORE_UNAVAILABLE when that fails. A call
        that S3 throttles, fails or leaves unanswered for `timeout_s` is made again up to `attempts` times, ever later
        and with jitter.
        """
        if kms_key_id.startswith("alias/"):
            try:
                kms_key_id = connect("kms").describe_key(KeyId=kms_key_id)["KeyMetadata"]["Arn"]
            except (ClientError, BotoCoreError) as error:
                raise FedprivError(
                    ErrorCode.STORE_UNAVAILABLE,
                    f"KMS key {kms_key_id}: {error}.",
                    "Check AWS_ENDPOINT_URL and credentials; `fedpriv provision` makes the key and its alias.",
                ) from None
        client = connect("s3", timeout_s=timeout_s, attempts=attempts, connections=32)
        return cls(client, bucket, kms_key_id)

    def put_once(self, key: str, body: bytes, content_type: str = "application/json") -> PutOutcome:
        """Create the object unless it exists. Raises STORE_CONFLICT when it exists with another content,
        STORE_UNAVAILABLE when S3 cannot be reached or declines."""
        for _ in range(_SETTLE_ATTEMPTS):
            if self._create(key, body, content_type):
                return PutOutcome.CREATED
            existing = self.get(key)
            if existing == body:
                return PutOutcome.ALREADY_THERE
            if existing is not None:
                raise FedprivError(
                    ErrorCode.STORE_CONFLICT,
                    f"{key} in bucket {self.bucket} already holds something else.",
                    "Objects are written once; find out who else writes there.",
                )
        raise _unavailable(self.bucket, f"other writes of {key} do not settle")

    def _create(self, key: str, body: bytes, content_type: str) -> bool:
        """Put the object; False when it is there, or is being put by someone else."""
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                IfNoneMatch="*",
                ServerSideEncryption="aws:kms",
                SSEKMSKeyId=self.kms_key_id,
                BucketKeyEnabled=True,
                ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
            )
        except ClientError as error:
            # 409: another conditional write of this key was under way, and may yet fail.
            if error_code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return False
            raise _unavailable(self.bucket, error) from None
        except BotoCoreError as error:
            raise _unavailable(self.bucket, error) from None
        return True

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """The object's bytes, or None when there is none; of one longer than `most`, its first `most` + 1."""
        try:
            stream = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
            body: bytes = stream.read() if most is None else stream.read(most + 1)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise _unavailable(self.bucket, error) from None
        except BotoCoreError as error:
            raise _unavailable(self.bucket, error) from None
        return body

    def list_keys(self, prefix: str, start_after: str = "") -> Iterator[str]:
        """Keys under `prefix` after `start_after`, in order; one request per thousand."""
        for listed in self.list_entries(prefix, start_after):
            yield listed.key

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, str]]:
        """The same with each object's ETag, which changes when an object is written again."""
        for listed in self.list_entries(prefix, start_after):
            yield listed.key, listed.etag

    def list_entries(self, prefix: str, start_after: str = "") -> Iterator[Listed]:
        """The same with what else a listing tells."""
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, StartAfter=start_after
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"], entry["ETag"], entry["Size"])
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(self.bucket, error) from None

    def list_folders(self, prefix: str, start_after: str = "") -> list[str]:
        """Names directly below `prefix` (which ends with a slash) and after the folder `start_after`, in order."""
        # Every key of that folder sorts before its name followed by the character after the slash.
        after = f"{prefix}{start_after}0" if start_after else ""
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/", StartAfter=after
            )
            return [
                entry["Prefix"].removeprefix(prefix).rstrip("/")
                for page in pages
                for entry in page.get("CommonPrefixes", ())
            ]
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(self.bucket, error) from None


def _unavailable(bucket: str, cause: object) -> FedprivError:
    return FedprivError(
        ErrorCode.STORE_UNAVAILABLE,
        f"S3 bucket {bucket}: {cause}.",
        "Check AWS_ENDPOINT_URL, credentials and that the bucket exists.",
    )
