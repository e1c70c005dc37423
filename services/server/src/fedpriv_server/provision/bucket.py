"""The customer key and the bucket that holds what the server writes, or what sites without a disk do: their ledgers.

Every call brings both into the same state, whatever it finds: nothing yet, all of it, or an emulator that lost its
keys and rules in a crash while the objects stayed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError

ROTATION_DAYS = 365


@dataclass(frozen=True)
class Storage:
    """A bucket and the key that its objects are encrypted with (an ARN)."""

    bucket: str
    kms_key: str


@dataclass(frozen=True)
class Contents:
    """What a bucket is for, and which of its keys are written once and never deleted."""

    what: str
    kept: str


RECORDS = Contents("records, checkpoints, models and statements of training runs", "v1/*")
LEDGERS = Contents("privacy ledgers", "*")


def provision_storage(bucket: str, alias: str, contents: Contents = RECORDS) -> Storage:
    """Make or repair the key behind `alias` (`alias/…`) and the bucket for `contents`, on the AWS of the environment.

    The bucket is this product's own: its policy and its rules are set, not merged. Raises STORE_UNAVAILABLE when AWS
    cannot be reached or declines, or when the key is disabled or about to be deleted, which a person must undo.
    """
    try:
        s3, kms = connect("s3"), connect("kms")
        _ensure_bucket(s3, bucket)
        key = _ensure_key(kms, alias, contents.what, preferred=_encryption_key(s3, bucket))
        _set_rules(s3, bucket, key, contents)
    except (BotoCoreError, ClientError) as error:
        raise FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"Bucket {bucket} with key {alias}: {error}.",
            "Check AWS_ENDPOINT_URL, the region, the credentials and what they may do.",
        ) from None
    return Storage(bucket, key)


def bucket_policy(
    bucket: str, kms_key: str, contents: Contents = RECORDS, partition: str = "aws", tls: bool = True
) -> dict[str, Any]:
    """What nobody may do with the bucket, administrators included.

    `tls` asks for the statement that refuses plain HTTP; only an emulator on loopback goes without.
    """
    arn = f"arn:{partition}:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {
            # A record that could be written twice could be rewritten after a statement was signed over it, and a
            # ledger's entry after its release was sent. Copies and multipart uploads are puts to this rule.
            "Sid": "RecordsAreWrittenOnce",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"{arn}/{contents.kept}",
            "Condition": {"Null": {"s3:if-none-match": "true"}},
        },
        {
            # What was released stays on record; versioning keeps it even where this policy is lifted.
            "Sid": "NothingIsDeleted",
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": f"{arn}/{contents.kept}",
        },
        {
            # A put that names no key gets this one from the bucket's rule; one that names another is refused.
            "Sid": "NoOtherKey",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"{arn}/*",
            "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": kms_key}},
        },
    ]
    if tls:
        statements.append(
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _ensure_bucket(s3: Any, bucket: str) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error_code(error) not in ("404", "NoSuchBucket"):
            raise
    else:
        return
    region = s3.meta.region_name
    # us-east-1 is the one region that may not be named here.
    location = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=bucket, **location)
    except ClientError as error:
        if error_code(error) != "BucketAlreadyOwnedByYou":  # another provisioning was faster
            raise


def _encryption_key(s3: Any, bucket: str) -> str | None:
    """The key that the bucket's objects have been encrypted with so far."""
    try:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError as error:
        if error_code(error) != "ServerSideEncryptionConfigurationNotFoundError":
            raise
        return None
    return next((rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in rules), None)


def _ensure_key(kms: Any, alias: str, what: str, preferred: str | None) -> str:
    """ARN of the key behind `alias`; else of the bucket's own key, else of a new one, with the alias set to it."""
    key = _describe(kms, alias)
    if key is None:
        key = (_describe(kms, preferred) if preferred else None) or kms.create_key(Description=f"fedpriv: {what}")[
            "KeyMetadata"
        ]
        try:
            kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
        except ClientError as error:
            if error_code(error) != "AlreadyExistsException":
                raise
            # The alias is there but leads nowhere, or someone else has just made it: their key is as good.
            key = _describe(kms, alias) or key
            kms.update_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    if key["KeyState"] != "Enabled":
        raise FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"The KMS key of {alias} is in state {key['KeyState']}.",
            "Enable it or cancel its deletion; without it nothing can be stored or read.",
        )
    if not kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]:
        kms.enable_key_rotation(KeyId=key["KeyId"], RotationPeriodInDays=ROTATION_DAYS)
    return str(key["Arn"])


def _describe(kms: Any, key: str) -> dict[str, Any] | None:
    try:
        metadata: dict[str, Any] = kms.describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        return None
    return metadata


def _set_rules(s3: Any, bucket: str, kms_key: str, contents: Contents) -> None:
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms_key},
                    "BucketKeyEnabled": True,  # one KMS call per bucket and hour instead of one per object
                }
            ]
        },
    )
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tls = s3.meta.endpoint_url.startswith("https://")
    policy = bucket_policy(bucket, kms_key, contents, s3.meta.partition, tls)
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
